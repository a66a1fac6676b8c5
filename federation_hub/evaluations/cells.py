"""A cell of the matrix of models and hospitals as people read it: a shape, words, and why there is no number."""

from collections.abc import Mapping

from federation_hub.evaluations.messages import CellState, MatrixCell
from federation_hub.web.words import reason
from silo_node.web.formats import share

STATES: dict[CellState, str] = {
    "released": "scored",
    "undefined": "no estimate",
    "disputed": "disputed",
    "withdrawn": "withdrawn",
    "waiting": "asked",
    "running": "running",
    "held": "waits for release at the hospital",
    "declined": "declined by the hospital",
    "refused": "refused",
    "missing": "not asked",
}
MARKS: dict[CellState, str] = {
    "released": "●",
    "undefined": "◌",
    "disputed": "◍",
    "withdrawn": "✕",
    "waiting": "○",
    "running": "◐",
    "held": "◑",
    "declined": "✕",
    "refused": "✕",
    "missing": "–",
}
"""A shape for each state, so that colour is not needed."""

CAUSES = {"too-few-cases": "too few cases there"}
"""Causes that are no error codes, in words."""

UNDER_WAY: frozenset[CellState] = frozenset({"waiting", "running", "held"})


def words(cell: MatrixCell) -> str:
    """Return how far a cell is, in words. Hospitals tell it in steps, so that nobody can count cases by it."""
    return f"{share(cell.done / cell.total)} done" if cell.state == "running" and cell.total else STATES[cell.state]


def cause(cell: MatrixCell) -> str:
    """Return why a cell has no number, in words; empty where it has, or soon will have."""
    return "" if cell.code is None else CAUSES.get(cell.code) or reason(cell.code)


def counted(states: Mapping[CellState, int]) -> tuple[tuple[str, int], ...]:
    """Return how many cells there are of each state, in words; states without any are left out."""
    return tuple((words, states[state]) for state, words in STATES.items() if states.get(state))
