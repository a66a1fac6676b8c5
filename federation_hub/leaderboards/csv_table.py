"""A board as a CSV table for spreadsheets."""

from collections.abc import Iterator

from federation_hub.leaderboards.board import Board, Entry
from federation_hub.web.data_tables import DataTable

COLUMNS = (
    "rank_low",
    "rank_high",
    "tie_group",
    "model",
    "name",
    "organisation",
    "kind",
    "metric",
    "estimate",
    "low",
    "high",
    "new_hospital_low",
    "new_hospital_high",
    "probability_best",
    "probability_top3",
    "worst_site",
    "worst_estimate",
    "worst_low",
    "worst_high",
    "gap",
    "sites",
    "cases",
    "failed",
)


def board_table(board: Board) -> DataTable:
    """Return the ranked entries as a table, in the order of the board."""
    rows = tuple(tuple(_values(board, entry)) for entry in board.entries)
    return DataTable("leaderboard", "Every ranked model", COLUMNS, rows)


def board_csv(board: Board) -> str:
    """Return the ranked entries as CSV with a header line, in the order of the board."""
    return board_table(board).csv()


def _values(board: Board, entry: Entry) -> Iterator[str | float | None]:
    yield from (entry.rank_low, entry.rank_high, entry.group, entry.digest, entry.name, entry.owner, entry.kind)
    yield from (board.metric, entry.estimate.value, entry.estimate.low, entry.estimate.high)
    yield from entry.prediction or (None, None)
    yield from (entry.first, entry.top_three)
    worst = entry.worst
    yield from (worst.site, worst.estimate.value, worst.estimate.low, worst.estimate.high) if worst else (None,) * 4
    yield from (entry.best_worst_gap, entry.site_count, entry.cases, entry.failed)
