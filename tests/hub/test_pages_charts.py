"""Charts are numbers in, escaped and self-describing SVG out."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from federation_hub.web.axes import nice_axis
from federation_hub.web.charts import CurveLine, SiteMark, axis_plot, interval_plot, rank_plot, round_curve, spread

FINITE = st.floats(min_value=-1e6, max_value=1e6)


def circles(markup: str, class_: str) -> list[ElementTree.Element]:
    """Return the circles of a class in a drawing, which must be well-formed XML."""
    return [node for node in ElementTree.fromstring(markup).iter("circle") if node.get("class") == class_]


def plot(**changes: object) -> str:
    """Draw one ordinary row, with changes."""
    axis = nice_axis([0.8, 1.0], lowest=0, highest=1)
    arguments = {"estimate": 0.9, "interval": (0.85, 0.95), "title": "A", "description": "B"} | changes
    return str(interval_plot(axis, **arguments))  # type: ignore[arg-type]


def test_an_axis_of_round_ticks_spans_the_values() -> None:
    """0.81 to 0.98 becomes 0.80 to 1.00 by 0.05, with as many decimals as the ticks need."""
    axis = nice_axis([0.81, 0.98, None], lowest=0, highest=1)
    assert (axis.low, axis.high, axis.ticks) == (0.8, 1.0, (0.8, 0.85, 0.9, 0.95, 1.0))
    assert [axis.label(tick) for tick in axis.ticks][:2] == ["0.80", "0.85"]


def test_an_axis_never_passes_the_bounds_of_its_metric() -> None:
    """No AUROC above 1 is ever labelled."""
    assert nice_axis([0.93, 0.999], lowest=0, highest=1).high == 1


@pytest.mark.parametrize("values", [[], [None], [float("nan")], [0.5], [0.0], [1.0, 1.0]])
def test_an_axis_of_one_value_or_none_still_has_a_width(values: list[float | None]) -> None:
    """A board with a single model, or with nothing estimable, is drawn all the same."""
    axis = nice_axis(values, lowest=0, highest=1)
    assert axis.high > axis.low
    assert len(axis.ticks) >= 1


@given(st.lists(FINITE, min_size=1, max_size=20))
@example([1e-05, -20002.0])
def test_every_value_lies_on_its_axis(values: list[float]) -> None:
    """Whatever the values, none is drawn outside by more than a millionth of the width, and the ticks ascend."""
    axis = nice_axis(values)
    hair = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - hair <= value <= axis.high + hair for value in values)
    assert list(axis.ticks) == sorted(axis.ticks)
    assert len(axis.ticks) <= 12


def test_a_row_draws_its_estimate_where_the_axis_says() -> None:
    """0.9 in the middle of 0.8 to 1.0 stands in the middle of the box."""
    assert [node.get("cx") for node in circles(plot(), "estimate")] == ["50%"]


def test_the_worst_hospital_is_filled_and_lettered() -> None:
    """It is told apart by shape and letter, not by colour alone."""
    markup = plot(sites=[SiteMark("A", 0.95), SiteMark("C", 0.85, worst=True)])
    assert len(circles(markup, "site")) == 1
    assert len(circles(markup, "site worst")) == 1
    assert "C" in [node.text for node in ElementTree.fromstring(markup).iter("text")]
    assert "A" not in [node.text for node in ElementTree.fromstring(markup).iter("text")]


def test_a_model_without_an_estimate_is_drawn_empty() -> None:
    """Not estimable leaves the grid alone, and breaks nothing."""
    assert circles(plot(estimate=None, interval=None), "estimate") == []


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><svg onload=x>', "{{ 7 * 7 }}", "]]>&"])
def test_every_text_of_a_chart_is_escaped(text: str) -> None:
    """A model's or a site's name is text in the drawing, whatever it holds."""
    drawings = [
        plot(title=text, description=text, sites=[SiteMark(text, 0.9, worst=True)]),
        str(round_curve([CurveLine(text, ((1, 0.5), (2, 0.6)))], metric=text, title=text, description=text)),
        str(rank_plot(3, low=1, high=2, rank=1.5, title=text, description=text)),
        str(axis_plot(nice_axis([0, 1]), better="higher", metric=text)),
    ]
    for drawing in drawings:
        tree = ElementTree.fromstring(drawing)
        assert any(text in (node.text or "") for node in tree.iter())
        assert {node.tag for node in tree.iter()} <= {"svg", "title", "desc", "line", "circle", "text", "rect"}


def test_every_chart_has_a_name_and_a_description() -> None:
    """A reader who does not see it learns the same."""
    tree = ElementTree.fromstring(plot(title="AUROC of A", description="0.9"))
    assert tree.get("role") == "img"
    assert [tree.findtext("title"), tree.findtext("desc")] == ["AUROC of A", "0.9"]
    assert tree.get("style") is None


def test_a_round_curve_has_a_line_a_site_and_their_mean() -> None:
    """Three rounds make two segments a line; the label stands at its end."""
    points = ((1, 0.6), (2, 0.7), (3, 0.8))
    lines = [CurveLine("A", points), CurveLine("B", points), CurveLine("Mean", points, mean=True)]
    tree = ElementTree.fromstring(str(round_curve(lines, metric="Dice", title="t", description="d")))
    segments = [node.get("class") for node in tree.iter("line") if node.get("class") != "grid"]
    assert [segments.count(kind) for kind in ("line dash-0", "line dash-1", "mean")] == [2, 2, 2]
    assert {"A", "B", "Mean"} <= {node.text for node in tree.iter("text")}


def test_a_round_curve_of_a_large_federation_stays_small() -> None:
    """A hundred sites over ten thousand rounds are drawn as the mean and the two extremes, thinned."""
    points = tuple((place, 0.5 + place / 30_000) for place in range(1, 10_001))
    lines = [CurveLine(f"Site {index}", points) for index in range(100)] + [CurveLine("Mean", points, mean=True)]
    assert len(round_curve(lines, metric="Dice", title="t", description="d")) < 80_000


@pytest.mark.parametrize("lines", [[], [CurveLine("A", ())], [CurveLine("A", ((1, 0.5),))]])
def test_a_round_curve_of_nothing_yet_is_empty_and_sound(lines: list[CurveLine]) -> None:
    """A study that has just begun has a page, too."""
    ElementTree.fromstring(str(round_curve(lines, metric="Dice", title="t", description="d")))


@given(st.lists(st.floats(min_value=0.1, max_value=0.9), max_size=12).map(sorted))
def test_labels_are_spread_so_that_none_covers_another(places: list[float]) -> None:
    """Neighbours stand the gap apart and keep their order."""
    moved = spread(places, gap=0.05, low=0.05, high=0.95)
    assert all(after - before >= 0.05 - 1e-9 for before, after in pairwise(moved))
    assert all(0.05 - 1e-9 <= place <= 0.95 + 1e-9 for place in moved)
