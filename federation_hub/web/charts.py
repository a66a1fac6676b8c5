"""Charts as SVG made in Python: pure functions from numbers to escaped markup.

No script draws anything. Colours come from the stylesheet through classes, so a chart follows light, dark, contrast
and print; what a colour says is also said by a shape, a dash or a word. Every chart has a title and a description,
and every page that shows one also prints its numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Literal

from markupsafe import Markup

from federation_hub.web.axes import Axis, nice_axis
from federation_hub.web.svg import drawing, element, percent

Interval = tuple[float, float]
Better = Literal["higher", "lower"]

MARGIN = 0.03
"""Room left and right of a row's axis, so that a mark at its end is not cut."""


@dataclass(frozen=True, slots=True)
class SiteMark:
    """One hospital's value on a row. The worst one is filled and lettered."""

    label: str
    value: float
    worst: bool = False


def _x(axis: Axis, value: float) -> str:
    return percent(MARGIN + (1 - 2 * MARGIN) * axis.share(value))


def _vertical(axis: Axis, value: float, class_: str) -> Markup:
    x = _x(axis, value)
    return element("line", x1=x, x2=x, y1="0", y2="100%", class_=class_)


def _span(axis: Axis, interval: Interval | None, y: str, class_: str) -> Markup:
    if interval is None:
        return Markup()
    return element("line", x1=_x(axis, interval[0]), x2=_x(axis, interval[1]), y1=y, y2=y, class_=class_)


def interval_plot(
    axis: Axis,
    *,
    estimate: float | None,
    interval: Interval | None = None,
    prediction: Interval | None = None,
    sites: Sequence[SiteMark] = (),
    floor: float | None = None,
    better: Better = "higher",
    title: str,
    description: str,
) -> Markup:
    """Return one row of a forest plot, filling whatever box it is put in.

    The pooled estimate stands above with its interval (thick) and the prediction interval for a new hospital (thin);
    below it one ring a site. Grid lines run the full height, so rows that follow each other share them.
    """
    y = "36%" if sites else "50%"
    marks: list[Markup] = [_vertical(axis, tick, "grid") for tick in axis.ticks]
    if floor is not None and axis.holds(floor):
        marks.append(_vertical(axis, floor, "floor"))
    marks += [_span(axis, prediction, y, "prediction"), _span(axis, interval, y, "interval")]
    if estimate is not None:
        marks.append(element("circle", cx=_x(axis, estimate), cy=y, r=5, class_="estimate"))
    marks += [_site(axis, site, better) for site in sorted(sites, key=lambda mark: mark.worst)]
    marks += _end_ticks(axis)
    return drawing(*marks, title=title, description=description, class_="plot")


def _end_ticks(axis: Axis) -> list[Markup]:
    """Return the axis' ends, shown by the stylesheet only where a row has no axis above it."""
    ends = ((axis.ticks[0], "start"), (axis.ticks[-1], "end")) if axis.ticks else ()
    return [
        element("text", axis.label(tick), x=_x(axis, tick), y="100%", dy=10, text_anchor=anchor, class_="row-tick")
        for tick, anchor in ends
    ]


def _site(axis: Axis, site: SiteMark, better: Better) -> Markup:
    x = _x(axis, site.value)
    ring = element("circle", cx=x, cy="76%", r=4 if site.worst else 3.5, class_="site worst" if site.worst else "site")
    if not site.worst:
        return ring
    # Nothing lies beyond the worst site, so its letter always has room on that side.
    outside, anchor = (-9, "end") if better == "higher" else (9, "start")
    near_edge = axis.share(site.value) < 0.1 if better == "higher" else axis.share(site.value) > 0.9
    if near_edge:
        outside, anchor = (0, "middle")
    return ring + element(
        "text", site.label, x=x, y="76%", dx=outside, dy=-8 if near_edge else 4, text_anchor=anchor, class_="site-label"
    )


def axis_plot(axis: Axis, *, better: Better, metric: str) -> Markup:
    """Return the tick labels that stand above rows of :func:`interval_plot`."""
    labels = [
        element("text", axis.label(tick), x=_x(axis, tick), y="100%", dy=-4, text_anchor="middle", class_="tick")
        for tick in axis.ticks
    ]
    description = f"From {axis.label(axis.low)} to {axis.label(axis.high)}; {better} is better."
    return drawing(*labels, title=f"Axis of {metric}", description=description, class_="axis", height=20)


def rank_plot(models: int, *, low: int, high: int, rank: float | None, title: str, description: str) -> Markup:
    """Return a strip of the ranks 1 to ``models`` with a model's rank interval and its point rank."""

    def x(value: float) -> str:
        return percent(0.5 if models < 2 else 0.04 + 0.92 * (value - 1) / (models - 1))

    shown = range(1, models + 1, max(1, -(-models // 12)))
    marks = [element("circle", cx=x(place), cy="50%", r=1.5, class_="place") for place in shown]
    marks.append(element("line", x1=x(low), x2=x(high), y1="50%", y2="50%", class_="interval"))
    if rank is not None:
        marks.append(element("circle", cx=x(rank), cy="50%", r=5, class_="estimate"))
    return drawing(*marks, title=title, description=description, class_="strip", height=24)


def share_bar(share: float, *, title: str) -> Markup:
    """Return a thin bar that fills a share (0 to 1) of its box."""
    return drawing(
        element("rect", x="0", y="0", width="100%", height="100%", class_="bar-track"),
        element("rect", x="0", y="0", width=percent(min(1.0, max(0.0, share))), height="100%", class_="bar"),
        title=title,
        description="A bar whose length is the share.",
        class_="share",
        height=4,
    )


@dataclass(frozen=True, slots=True)
class CurveLine:
    """One line of a round curve: a label, and (round, value) points in order of rounds."""

    label: str
    points: tuple[tuple[int, float], ...]
    mean: bool = False


LEFT, RIGHT, TOP, BOTTOM = 0.07, 0.84, 0.1, 0.88
LINES_SHOWN = 12
ROUNDS_SHOWN = 150
LABEL_GAP = 0.055


def round_curve(lines: Sequence[CurveLine], *, metric: str, title: str, description: str) -> Markup:
    """Return a metric over the rounds: a thin line a site, told apart by dashes and labels, and their thick mean.

    With more than ``LINES_SHOWN`` lines only the mean and the sites that end highest and lowest are drawn.
    """
    kept = [_thinned(line) for line in _chosen(lines)]
    axis = nice_axis(value for line in kept for _, value in line.points)
    rounds = sorted({place for line in kept for place, _ in line.points}) or [1]
    marks = [_curve_grid(axis), _round_ticks(rounds)]
    dashes = count()
    marks += [
        _curve(line, axis, rounds, "mean" if line.mean else f"line dash-{next(dashes) % 6}")
        for line in sorted(kept, key=lambda line: line.mean)
    ]
    marks.append(_end_labels(kept, axis))
    marks.append(element("text", metric, x="0", y="0", dy=11, class_="tick axis-name"))
    return drawing(*marks, title=title, description=description, class_="curve", height=340)


def _chosen(lines: Sequence[CurveLine]) -> list[CurveLine]:
    kept = [line for line in lines if line.points]
    if len(kept) <= LINES_SHOWN:
        return kept
    sites = sorted((line for line in kept if not line.mean), key=lambda line: line.points[-1][1])
    return [line for line in kept if line.mean] + [sites[0], sites[-1]]


def _thinned(line: CurveLine) -> CurveLine:
    if len(line.points) <= ROUNDS_SHOWN:
        return line
    stride = -(-len(line.points) // ROUNDS_SHOWN)
    return CurveLine(line.label, (*line.points[:-1:stride], line.points[-1]), line.mean)


def _curve_y(axis: Axis, value: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * axis.share(value)


def _curve_x(rounds: Sequence[int], place: int) -> float:
    first, last = rounds[0], rounds[-1]
    return LEFT + (RIGHT - LEFT) * (0.5 if first == last else (place - first) / (last - first))


def _curve_grid(axis: Axis) -> Markup:
    marks = Markup()
    for tick in axis.ticks:
        y = percent(_curve_y(axis, tick))
        marks += element("line", x1="0", x2=percent(RIGHT), y1=y, y2=y, class_="grid")
        marks += element("text", axis.label(tick), x="0", y=y, dy=-4, class_="tick")
    return marks


def _round_ticks(rounds: Sequence[int]) -> Markup:
    stride = max(1, -(-(rounds[-1] - rounds[0]) // 10))
    shown = range(rounds[0], rounds[-1] + 1, stride)
    marks = Markup()
    for place in shown:
        x = percent(_curve_x(rounds, place))
        marks += element("text", str(place), x=x, y=percent(BOTTOM), dy=20, text_anchor="middle", class_="tick")
    middle = percent((LEFT + RIGHT) / 2)
    return marks + element("text", "rounds of training", x=middle, y="100%", dy=-3, text_anchor="middle", class_="tick")


def _curve(line: CurveLine, axis: Axis, rounds: Sequence[int], class_: str) -> Markup:
    points = [(percent(_curve_x(rounds, place)), percent(_curve_y(axis, value))) for place, value in line.points]
    marks = Markup()
    for (x1, y1), (x2, y2) in pairwise(points):
        marks += element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)
    if line.mean or len(points) == 1:
        for x, y in points[-1:]:
            marks += element("circle", cx=x, cy=y, r=4, class_="estimate" if line.mean else "site")
    return marks


def _end_labels(lines: Sequence[CurveLine], axis: Axis) -> Markup:
    ordered = sorted(lines, key=lambda line: _curve_y(axis, line.points[-1][1]))
    places = spread([_curve_y(axis, line.points[-1][1]) for line in ordered], gap=LABEL_GAP, low=TOP, high=BOTTOM)
    marks = Markup()
    for line, y in zip(ordered, places, strict=True):
        class_ = "end-label mean" if line.mean else "end-label"
        marks += element("text", line.label, x=percent(RIGHT), y=percent(y), dx=10, dy=4, class_=class_)
    return marks


def spread(places: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Move ascending places apart until neighbours are ``gap`` away, staying inside low to high where there is room."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else max(place, low))
    ceiling = max(high, low + gap * (len(moved) - 1))
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = min(moved[index], ceiling - gap * (len(moved) - 1 - index))
    return moved
