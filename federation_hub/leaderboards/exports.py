"""A board's tables as data: one for each table its page shows, long rather than wide, so that columns never change."""

from collections.abc import Iterable, Mapping

from federation_hub.leaderboards.board import Board, Entry, Estimate
from federation_hub.leaderboards.csv_table import board_table
from federation_hub.web.data_tables import Cell, DataTable

MODEL = ("model", "name")
INTERVAL = ("estimate", "low", "high")


def board_tables(board: Board) -> tuple[DataTable, ...]:
    """Return every table of a board's page."""
    return (board_table(board), _hospitals(board), _ranks(board), _metrics(board), _groups(board), _pairs(board))


def _who(entry: Entry) -> tuple[str, str]:
    return entry.digest, entry.name


def interval(estimate: Estimate) -> tuple[Cell, Cell, Cell]:
    """Return an estimate as the cells of :data:`INTERVAL`."""
    return estimate.value, estimate.low, estimate.high


def _hospitals(board: Board) -> DataTable:
    rows = [
        (*_who(entry), board.metric, site.site, *interval(site.estimate), site.worst, site.under_floor)
        for entry in board.entries
        for site in entry.sites
    ]
    columns = (*MODEL, "metric", "hospital", *INTERVAL, "worst", "under_floor")
    return DataTable("hospitals", "Each model at each hospital that lets itself be seen", columns, tuple(rows))


def _ranks(board: Board) -> DataTable:
    rows = [
        (
            *_who(entry),
            *(entry.rank_low, entry.rank_high),
            *(entry.drawn_ranks or (None, None)),
            *(entry.first, entry.top_three),
            *entry.rule_ranks,
            entry.rules_within,
        )
        for entry in board.entries
    ]
    columns = (
        *(*MODEL, "rank_low", "rank_high", "drawn_low", "drawn_high", "probability_best", "probability_top3"),
        *(f"rank_by_{rule}" for rule in board.rules),
        "rules_that_agree",
    )
    return DataTable("ranks", "Rank intervals, and the rank under other rules", columns, tuple(rows))


def _metrics(board: Board) -> DataTable:
    rows: list[tuple[Cell, ...]] = []
    for entry in board.entries:
        rows.append((*_who(entry), board.metric, "site_equal", *interval(entry.estimate)))
        rows.append((*_who(entry), board.metric, "case_weighted", *interval(entry.case_weighted)))
        rows += _named(entry, entry.metrics, "site_equal")
        rows += [(*_who(entry), board.metric, f"label: {label}", *interval(at)) for label, at in entry.labels.items()]
    columns = (*MODEL, "metric", "over", *INTERVAL)
    return DataTable("metrics", "Every metric over all hospitals", columns, tuple(rows))


def _named(entry: Entry, estimates: Mapping[str, Estimate], over: str) -> Iterable[tuple[Cell, ...]]:
    return [(*_who(entry), name, over, *interval(estimate)) for name, estimate in estimates.items()]


def _groups(board: Board) -> DataTable:
    rows = [
        (*_who(entry), board.metric, group, *interval(estimate))
        for entry in board.entries
        for group, estimate in entry.subgroups.items()
    ]
    return DataTable("groups", "Groups of patients", (*MODEL, "metric", "group", *INTERVAL), tuple(rows))


def _pairs(board: Board) -> DataTable:
    rows = [
        (*pair.digests, pair.first, pair.second, *interval(pair.difference), pair.p_adjusted, pair.sites, pair.apart)
        for pair in board.comparisons
    ]
    columns = ("a", "b", "name_a", "name_b", "difference", "low", "high", "p_adjusted", "hospitals", "told_apart")
    return DataTable("pairs", "Differences of pairs of models, a minus b", columns, tuple(rows))
