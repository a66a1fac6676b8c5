"""The query string chooses and orders rows; nonsense in it is never an error."""

from hypothesis import given
from hypothesis import strategies as st

from federation_hub.leaderboards.board import Estimate
from federation_hub.leaderboards.query import BoardQuery, parse_query, select
from tests.hub.boards import board, entry

BOARD = board(
    entry("Beta", estimate=Estimate(0.95, 0.9, 1.0), cases=10),
    entry("alpha", estimate=Estimate(0.90, 0.8, 0.95), kind="baseline", cases=30, rank_low=2, rank_high=3),
    entry("Gamma", estimate=Estimate(None), owner="Northern Clinic", cases=20, worst=None),
)


def names(**arguments: str) -> list[str]:
    """Return the names of the rows that these arguments choose."""
    return [found.name for found in select(BOARD, parse_query(arguments))]


def test_rows_come_in_the_order_of_the_board_unless_asked_otherwise() -> None:
    """The board's own order is by tie group, then by name."""
    assert names() == ["Beta", "alpha", "Gamma"]


def test_a_column_sorts_best_first_and_can_be_turned() -> None:
    """The best score comes first for a metric where higher is better; names ascend, whatever their capitals."""
    assert names(sort="score") == ["Beta", "alpha", "Gamma"]
    assert names(sort="score", order="asc") == ["alpha", "Beta", "Gamma"]
    assert names(sort="model") == ["alpha", "Beta", "Gamma"]
    assert names(sort="cases") == ["alpha", "Gamma", "Beta"]


def test_a_lower_is_better_metric_sorts_the_other_way() -> None:
    """For HD95 the smallest distance comes first."""
    lower = board(*BOARD.entries, metric="hd95", direction="lower")
    assert [found.name for found in select(lower, parse_query({"sort": "score"}))] == ["alpha", "Beta", "Gamma"]


def test_a_missing_value_comes_last_in_both_orders() -> None:
    """Not estimable is neither the best nor the worst."""
    assert names(sort="worst", order="asc")[-1] == names(sort="worst", order="desc")[-1] == "Gamma"


def test_rows_are_filtered_by_kind_and_by_text() -> None:
    """Text is looked for in names and owners, whatever its capitals."""
    assert names(kind="baseline") == ["alpha"]
    assert names(q="northern") == ["Gamma"]
    assert names(q="BETA") == ["Beta"]
    assert names(q="nobody") == []


@given(st.dictionaries(st.sampled_from(["sort", "order", "kind", "q", "page", "x"]), st.text(max_size=300)))
def test_any_query_string_is_understood_as_something(arguments: dict[str, str]) -> None:
    """Whatever a reader types, there is an answer and a link that leads back to it."""
    query = parse_query(arguments)
    assert all(found in BOARD.entries for found in select(BOARD, query))
    assert query.page >= 1
    assert query.link("/board").startswith("/board")


def test_a_link_holds_only_what_differs_from_the_default() -> None:
    """The plain board has a plain address."""
    assert BoardQuery().link("/b") == "/b"
    assert BoardQuery(text="a&b").link("/b", sort="score") == "/b?sort=score&q=a%26b"
    assert parse_query({"page": "7"}).link("/b", kind="baseline") == "/b?kind=baseline"
