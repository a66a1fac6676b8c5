"""The columns a board can show: what each is called, what it shows of an entry, and how it sorts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from federation_hub.leaderboards.board import Board, Entry, Estimate
from federation_hub.web.words import arrow, direction
from silo_node.web.formats import chance, metric_name, score, share
from silo_node.wire.benchmarks import METRICS, Direction

Order = Literal["asc", "desc"]
Key = float | str | None
FIXED = ("rank", "model", "score")
"""Columns every board shows."""

DEFAULT = ("plot", "best", "worst", "cases")
"""Columns a board shows unless its reader chooses others."""

MORE = ("weighted", "new", "top3", "gap", "i2", "rules", "failed")
CHOICES = (*DEFAULT, *MORE, *METRICS)
SORTS = tuple(key for key in (*FIXED, *CHOICES) if key != "plot")
_NATURAL: dict[str, Order] = dict.fromkeys(("rank", "model", "gap", "i2", "failed"), "asc")
_BY_SCORE = ("score", "worst", "weighted", "new")


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column: ``key`` in the query string, its head, what it sorts by, and its cell where that is plain."""

    key: str
    label: str
    sorts_by: Callable[[Entry], Key]
    cell: Callable[[Entry], Estimate | str] | None = None
    chosen: bool = True
    """It can be chosen or left out."""


def columns_of(board: Board) -> tuple[ColumnSpec, ...]:
    """Return every column of a board in the order in which they are shown."""
    name = f"{metric_name(board.metric)} {arrow(board.metric)}"
    metrics = board.entries[0].metrics if board.entries else ()
    return (
        ColumnSpec("rank", "Rank", lambda entry: entry.rank_low, chosen=False),
        ColumnSpec("model", "Model", lambda entry: entry.name.casefold(), chosen=False),
        ColumnSpec("score", name, lambda entry: entry.estimate.value, chosen=False),
        ColumnSpec("plot", "Drawing", lambda entry: entry.estimate.value),
        ColumnSpec("best", "P(best)", lambda entry: entry.first),
        ColumnSpec("worst", "Worst hospital", lambda entry: entry.worst.estimate.value if entry.worst else None),
        ColumnSpec("cases", "Data", lambda entry: entry.cases),
        ColumnSpec(
            "weighted",
            "Every case the same",
            lambda entry: entry.case_weighted.value,
            lambda entry: entry.case_weighted,
        ),
        ColumnSpec("new", "At a new hospital", partial(_pessimistic, board), _new_hospital),
        ColumnSpec("top3", "P(top 3)", lambda entry: entry.top_three, lambda entry: chance(entry.top_three)),
        ColumnSpec(
            "gap", "Best to worst", lambda entry: entry.best_worst_gap, lambda entry: score(entry.best_worst_gap)
        ),
        ColumnSpec("i2", "More than chance", lambda entry: entry.i2.value, lambda entry: share(entry.i2.value)),
        ColumnSpec("rules", "Rules that agree", lambda entry: entry.rules_within, partial(_agreeing, board)),
        ColumnSpec("failed", "Failed cases", lambda entry: entry.failed, lambda entry: f"{entry.failed:,}"),
        *(_metric(metric) for metric in metrics),
    )


def natural_order(key: str, board: Board) -> Order:
    """Return the order in which a column is most useful: the best first."""
    if key in _BY_SCORE:
        return _best_first(board.direction)
    return _best_first(direction(key)) if key in METRICS else _NATURAL.get(key, "desc")


def _best_first(better: Direction) -> Order:
    return "desc" if better == "higher" else "asc"


def _metric(name: str) -> ColumnSpec:
    def estimate(entry: Entry) -> Estimate:
        return entry.metrics.get(name, Estimate(None))

    return ColumnSpec(name, f"{metric_name(name)} {arrow(name)}", lambda entry: estimate(entry).value, estimate)


def _pessimistic(board: Board, entry: Entry) -> float | None:
    """The worse end of what a new hospital may expect."""
    if entry.prediction is None:
        return None
    return entry.prediction[0] if board.direction == "higher" else entry.prediction[1]


def _new_hospital(entry: Entry) -> str:
    return f"{score(entry.prediction[0])} to {score(entry.prediction[1])}" if entry.prediction else score(None)


def _agreeing(board: Board, entry: Entry) -> str:
    return score(None) if entry.rules_within is None else f"{entry.rules_within} of {len(board.rules)}"
