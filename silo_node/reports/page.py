"""A page of HTML that needs nothing beside itself: no script, no font, no address outside."""

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light; --ink: #1b2430; --soft: #5b6675; --line: #d6dce4; --bar: #2f6f9f; --warn: #9a3412; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.lead { color: var(--soft); margin-top: 0; } p.warning { color: var(--warn); font-weight: 600; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.2rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } td.number, th.number { text-align: right; }
figure { margin: 1rem 0 1.6rem; } figcaption { color: var(--soft); font-size: .9rem; }
svg { max-width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
img { max-width: 100%; image-rendering: pixelated; border: 1px solid var(--line); }
.signature { margin-top: 2.5rem; display: grid; grid-template-columns: 1fr 1fr; gap: 2.5rem 3rem; }
.signature div { border-top: 1px solid var(--ink); padding-top: .3rem; color: var(--soft); }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } table, figure { break-inside: avoid; } }
"""


def page(title: str, lead: str, parts: Iterable[str]) -> str:
    """Return a whole page; ``parts`` are HTML, title and lead are text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # What the browser may load: this page's own style and the pictures within it.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n'
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a heading and what stands under it."""
    return f"<h2>{escape(title)}</h2>\n" + "\n".join(parts)


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of text; ``kind`` is ``warning`` for what must not be overlooked."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; numbers stand to the right, and an absent value is a dash."""
    body = [list(row) for row in rows]
    numeric = [bool(body) and all(isinstance(row[place], int | float) for row in body) for place in range(len(columns))]
    head = "".join(
        f'<th scope="col"{_number(numeric[place])}>{escape(name)}</th>' for place, name in enumerate(columns)
    )
    lines = ["".join(_cell(value, numeric[place]) for place, value in enumerate(row)) for row in body]
    return (
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "".join(f"<tr>{line}</tr>\n" for line in lines)
        + ("</tbody>\n</table>")
    )


def signature(*lines: str) -> str:
    """Return lines to sign on."""
    return '<div class="signature">' + "".join(f"<div>{escape(line)}</div>" for line in lines) + "</div>"


def _cell(value: object, numeric: bool) -> str:
    text = "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return f"<td{_number(numeric)}>{escape(text)}</td>"


def _number(numeric: bool) -> str:
    return ' class="number"' if numeric else ""
