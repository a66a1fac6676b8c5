"""Small charts as SVG, and pictures as PNG, both inside the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

_WIDTH, _ROW, _LEFT = 640, 24, 190
_COLOURS = ("#2f6f9f", "#d08c2f", "#5b8f5a")
_BINS = 30


def bars(title: str, groups: Mapping[str, Mapping[str, int]]) -> str:
    """Return horizontal bars stacked by series, such as the cases of each label in each split, with their numbers."""
    names = list(next(iter(groups.values()), {}))
    largest = max((sum(values.values()) for values in groups.values()), default=0) or 1
    parts = []
    for row, (name, values) in enumerate(groups.items()):
        x, y = float(_LEFT), row * _ROW + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        for colour, series in zip(_COLOURS, names, strict=False):
            width = (_WIDTH - _LEFT - 60) * values[series] / largest
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>')
            x += width
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 13}">{sum(values.values()):,}</text>')
    return figure(title, _svg(len(groups) * _ROW + 8, parts), _legend(names))


def histogram(title: str, values: Sequence[float]) -> str:
    """Return a histogram of numbers with its ends labelled."""
    if not values:
        return ""
    counts, edges = np.histogram(np.asarray(values, dtype=np.float64), bins=_BINS)
    tallest, width = max(int(counts.max()), 1), _WIDTH / _BINS
    parts = [
        f'<rect x="{place * width + 1:.1f}" y="{100 - 92 * count / tallest:.1f}" width="{width - 2:.1f}"'
        f' height="{92 * count / tallest:.1f}" fill="{_COLOURS[0]}"/>'
        for place, count in enumerate(counts.tolist())
    ]
    parts.append(f'<text x="0" y="118">{edges[0]:.4g}</text>')
    parts.append(f'<text x="{_WIDTH}" y="118" text-anchor="end">{edges[-1]:.4g}</text>')
    return figure(title, _svg(124, parts))


def flow(steps: Sequence[tuple[str, str, str]]) -> str:
    """Return a flow diagram: for each step what stayed, and beside it what was left out and why."""
    parts = []
    for row, (stayed, left_out, _) in enumerate(steps):
        y = row * 64
        parts.append(_box(20, y + 4, 250, stayed))
        if row:
            parts.append(f'<path d="M145 {y - 20} V{y + 2}" stroke="#1b2430" marker-end="url(#tip)"/>')
        if left_out:
            parts.append(f'<path d="M145 {y - 9} H338" stroke="#1b2430" marker-end="url(#tip)"/>')
            parts.append(_box(342, y - 28, 290, left_out))
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#1b2430"/></marker></defs>'
    )
    return figure("", _svg(len(steps) * 64 - 12, [tip, *parts]), " ".join(note for _, _, note in steps if note))


def montage(title: str, pictures: Sequence[Any], labels: Sequence[Any], *, columns: int = 8, side: int = 96) -> str:
    """Return pictures side by side, each scaled to its own range, the outline of its label map drawn over it."""
    if not pictures:
        return ""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * side, rows * side))
    for place, (values, label) in enumerate(zip(pictures, labels, strict=True)):
        tile = Image.fromarray(_coloured(values, label)).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(tile, (place % columns * side, place // columns * side))
    out = io.BytesIO()
    sheet.quantize(128).save(out, "PNG", optimize=True)
    data = base64.b64encode(out.getvalue()).decode()
    return figure(title, f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">')


def figure(title: str, body: str, note: str = "") -> str:
    """Return a figure with its caption."""
    caption = f"<figcaption>{escape(title)} {note}</figcaption>" if title or note else ""
    return f"<figure>{body}{caption}</figure>"


def _coloured(values: Any, label: Any) -> Any:
    low, high = np.percentile(values, (1, 99))
    grey = np.clip((values - low) / (high - low or 1.0), 0, 1) * 255
    picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if label is not None:
        for number, colour in ((1, (255, 140, 0)), (2, (0, 190, 255)), (3, (120, 220, 80))):
            picture[_outline(label == number)] = colour
    return picture


def _outline(mask: Any) -> Any:
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _box(x: int, y: int, width: int, text: str) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="38" rx="4" fill="#fff" stroke="#1b2430"/>'
        f'<text x="{x + width / 2}" y="{y + 24}" text-anchor="middle">{escape(text)}</text>'
    )


def _svg(height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img"'
        f' xmlns="http://www.w3.org/2000/svg" fill="none">{"".join(parts)}</svg>'
    )


def _legend(names: Sequence[str]) -> str:
    marks = zip(_COLOURS, names, strict=False)
    return " ".join(f'<span style="color:{colour}">■</span> {escape(name)}' for colour, name in marks)
