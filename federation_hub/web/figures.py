"""The figures of a benchmarking paper, as SVG: after challengeR (Wiesenfarth et al., Sci. Rep. 2021; 11:2369).

Like all charts here they are drawn in Python, coloured by the style sheet, and named and described for readers who do
not see them; the page prints their numbers beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from markupsafe import Markup

from federation_hub.web.axes import Axis, nice_axis
from federation_hub.web.svg import drawing, element, percent

ROW = 26
_TOP = 30
_NAMES = 0.26
"""The share of the width that holds the models' names."""

_LETTERS = 28


@dataclass(frozen=True, slots=True)
class RankRow:
    """How often a model had each rank: ``shares`` of the draws from rank ``first`` on."""

    name: str
    first: int
    shares: tuple[float, ...]
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class ForestRow:
    """A line of a forest plot: a hospital with its own interval, or the pooled score."""

    name: str
    value: float
    interval: tuple[float, float] | None
    weight: float = 1.0
    """The share of the largest hospital's cases, 0 to 1: the area of the mark."""

    pooled: bool = False


def blob_plot(rows: Sequence[RankRow], *, title: str) -> Markup:
    """Return the blob plot: one column a rank, the area of a blob the share of draws that gave a model that rank."""
    size = max(1, len(rows))
    radius = min(11.0, 0.45 * ROW)
    marks = [_rank_ticks(size)]
    for place, row in enumerate(rows):
        y = _TOP + ROW * (place + 0.5)
        marks.append(_name(row.name, y))
        ends = [percent(_column(rank, size)) for rank in (row.low, row.high)]
        marks.append(element("line", x1=ends[0], x2=ends[1], y1=y, y2=y, class_="interval"))
        marks += [
            element("circle", cx=percent(_column(row.first + step, size)), cy=y, r=_blob(share, radius), class_="blob")
            for step, share in enumerate(row.shares)
            if share >= 0.001
        ]
    described = "; ".join(f"{row.name}: ranks {row.low} to {row.high} in 95% of the draws" for row in rows)
    return _figure(marks, title=title, description=f"{described}.", rows=size)


def significance_grid(names: Sequence[str], ahead: Sequence[Sequence[bool | None]], *, title: str) -> Markup:
    """Return the significance map: a filled cell where the row's model is surely better than the column's.

    A ring is a pair that cannot be told apart, and an empty cell one that is not compared.
    """
    size = max(1, len(names))
    marks = [_rank_ticks(size)]
    for row, name in enumerate(names):
        y = _TOP + ROW * (row + 0.5)
        marks.append(_name(name, y))
        for column in range(len(names)):
            x = percent(_column(column + 1, size))
            if row == column:
                marks.append(element("circle", cx=x, cy=y, r=1.5, class_="place"))
            elif ahead[row][column]:
                marks.append(element("circle", cx=x, cy=y, r=8, class_="estimate"))
            elif ahead[row][column] is False and not ahead[column][row]:
                marks.append(element("circle", cx=x, cy=y, r=5, class_="site"))
    wins = "; ".join(
        f"{name} is surely better than {sum(bool(cell) for cell in ahead[row])} of {len(names) - 1}"
        for row, name in enumerate(names)
    )
    return _figure(marks, title=title, description=f"{wins}.", rows=size)


def forest_plot(rows: Sequence[ForestRow], *, title: str, bounds: tuple[float | None, float | None]) -> Markup:
    """Return a forest plot: a square for each hospital, as large as it has cases, and the pooled score as a disc."""
    values = [value for row in rows for value in (row.value, *(row.interval or ()))]
    axis = nice_axis(values, lowest=bounds[0], highest=bounds[1])
    marks = [_axis_ticks(axis, len(rows))]
    for place, row in enumerate(rows):
        y = _TOP + ROW * (place + 0.5)
        marks.append(_name(row.name, y))
        if row.interval:
            low, high = (percent(_place(axis, value)) for value in row.interval)
            marks.append(
                element("line", x1=low, x2=high, y1=y, y2=y, class_="interval" if row.pooled else "prediction")
            )
        marks.append(_mark(row, percent(_place(axis, row.value)), y))
    told = "; ".join(
        f"{row.name} {axis.label(row.value)}"
        + (f" ({axis.label(row.interval[0])} to {axis.label(row.interval[1])})" if row.interval else "")
        for row in rows
    )
    return _figure(marks, title=title, description=f"{told}.", rows=len(rows))


def stability_plot(
    names: Sequence[str], rules: Sequence[str], ranks: Sequence[Sequence[int | None]], *, title: str
) -> Markup:
    """Return how each model's rank moves from rule to rule: one column a rule, the best rank on top."""
    size = max([1, *(rank for row in ranks for rank in row if rank is not None)])
    columns = max(1, len(rules))
    marks = [
        element("text", rule, x=percent(_column(place + 1, columns)), y=14, text_anchor="middle", class_="tick")
        for place, rule in enumerate(rules)
    ]
    for name, row in zip(names, ranks, strict=True):
        points = [
            (percent(_column(place + 1, columns)), _TOP + ROW * (rank - 0.5))
            for place, rank in enumerate(row)
            if rank is not None
        ]
        marks += [element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="line") for (x1, y1), (x2, y2) in pairwise(points)]
        marks += [element("circle", cx=x, cy=y, r=4, class_="estimate") for x, y in points]
        if points:
            marks.append(_name(name, points[0][1]))
    described = "; ".join(
        f"{name}: " + ", ".join(str(rank) if rank is not None else "no rank" for rank in row)
        for name, row in zip(names, ranks, strict=True)
    )
    return _figure(marks, title=title, description=f"Ranks under {', '.join(rules)}. {described}.", rows=size)


@dataclass(frozen=True, slots=True)
class Band:
    """A curve with what is certain about it: points (x, y) and, at each, the bounds of both."""

    points: tuple[tuple[float, float], ...]
    boxes: tuple[tuple[float, float, float, float], ...]
    """For each point the lowest and highest x, then the lowest and highest y."""


def curve_plot(band: Band, *, title: str, description: str, across: str, up: str) -> Markup:
    """Return a curve in the unit square over the boxes its points certainly lie in, and the diagonal of chance."""

    def at(x: float, y: float) -> tuple[str, str]:
        return percent(0.12 + 0.84 * x), percent(0.86 - 0.8 * y)

    marks = []
    for low_x, high_x, low_y, high_y in band.boxes:
        left, top = at(low_x, high_y)
        width, height = percent(0.84 * (high_x - low_x)), percent(0.8 * (high_y - low_y))
        if high_x > low_x or high_y > low_y:
            marks.append(element("rect", x=left, y=top, width=width, height=height, class_="band"))
    (x1, y1), (x2, y2) = at(0, 0), at(1, 1)
    marks.append(element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="grid"))
    places = [at(x, y) for x, y in band.points]
    marks += [element("line", x1=a[0], y1=a[1], x2=b[0], y2=b[1], class_="mean") for a, b in pairwise(places)]
    for value in (0.0, 0.5, 1.0):
        x, _ = at(value, 0)
        _, y = at(0, value)
        marks.append(element("text", f"{value:g}", x=x, y="93%", text_anchor="middle", class_="tick"))
        marks.append(element("text", f"{value:g}", x="10%", y=y, dy=4, text_anchor="end", class_="tick"))
    marks.append(element("text", across, x="54%", y="99%", text_anchor="middle", class_="tick"))
    marks.append(element("text", up, x="0", y="0", dy=11, class_="tick axis-name"))
    return drawing(*marks, title=title, description=description, class_="curve unit", height=320)


def _figure(marks: Sequence[Markup], *, title: str, description: str, rows: int) -> Markup:
    return drawing(*marks, title=title, description=description, class_="figure-plot", height=_TOP + ROW * rows + 6)


def _mark(row: ForestRow, x: str, y: float) -> Markup:
    if row.pooled:
        return element("circle", cx=x, cy=y, r=6, class_="estimate")
    side = round(4 + 8 * sqrt(row.weight), 2)
    shift = f"translate({round(-side / 2, 2)} {round(-side / 2, 2)})"
    return element("rect", x=x, y=y, width=side, height=side, transform=shift, class_="site")


def _column(rank: int, size: int) -> float:
    return _NAMES + (1 - _NAMES) * (rank - 0.5) / size


def _blob(share: float, radius: float) -> float:
    """The radius whose area is the share of the largest blob's."""
    return round(radius * sqrt(share), 2)


def _place(axis: Axis, value: float) -> float:
    return _NAMES + 0.02 + (0.96 - _NAMES) * axis.share(value)


def _name(name: str, y: float) -> Markup:
    short = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
    return element("text", short, x="0", y=round(y, 2), dy=4, class_="tick")


def _rank_ticks(size: int) -> Markup:
    stride = max(1, -(-size // 20))
    marks = Markup()
    for rank in range(1, size + 1, stride):
        x = percent(_column(rank, size))
        marks += element("text", str(rank), x=x, y=14, text_anchor="middle", class_="tick")
    return marks


def _axis_ticks(axis: Axis, rows: int) -> Markup:
    marks = Markup()
    for tick in axis.ticks:
        x = percent(_place(axis, tick))
        marks += element("line", x1=x, x2=x, y1=_TOP - 8, y2=_TOP + ROW * rows, class_="grid")
        marks += element("text", axis.label(tick), x=x, y=14, text_anchor="middle", class_="tick")
    return marks
