"""A board as a CSV table for spreadsheets."""

import csv
import io
from collections.abc import Iterator

from federation_hub.leaderboards.board import Board, Entry

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
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def board_csv(board: Board) -> str:
    """Return the ranked entries as CSV with a header line, in the order of the board."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for entry in board.entries:
        writer.writerow([_cell(value) for value in _values(board, entry)])
    return text.getvalue()


def _values(board: Board, entry: Entry) -> Iterator[str | float | None]:
    yield from (entry.rank_low, entry.rank_high, entry.group, entry.digest, entry.name, entry.owner, entry.kind)
    yield from (board.metric, entry.estimate.value, entry.estimate.low, entry.estimate.high)
    yield from entry.prediction or (None, None)
    yield from (entry.first, entry.top_three)
    worst = entry.worst
    yield from (worst.site, worst.estimate.value, worst.estimate.low, worst.estimate.high) if worst else (None,) * 4
    yield from (entry.best_worst_gap, entry.site_count, entry.cases, entry.failed)


def _cell(value: str | float | None) -> str | float | None:
    """Return a cell no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
