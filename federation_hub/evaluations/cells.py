"""Which models have been measured at which hospitals, and why not where they have not: pure functions.

A cell is never empty without a reason: it is scored, under way, refused or declined with a code, or not asked for one
of the causes below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from federation_hub.web.words import reason

State = Literal["scored", "undefined", "waiting", "running", "held", "declined", "refused", "missing"]
STATES: dict[State, str] = {
    "scored": "scored",
    "undefined": "no estimate",
    "waiting": "asked",
    "running": "running",
    "held": "waits for release at the hospital",
    "declined": "declined by the hospital",
    "refused": "refused by the hub",
    "missing": "not asked",
}
MARKS: dict[State, str] = {
    "scored": "●",
    "undefined": "◌",
    "waiting": "○",
    "running": "◐",
    "held": "◑",
    "declined": "✕",
    "refused": "✕",
    "missing": "–",
}
"""A shape for each state, so that colour is not needed."""

CAUSES = {
    "silo-suspended": "the hospital's node is suspended",
    "silo-revoked": "the hospital has left",
    "cohort-requested": "its cohort waits for the benchmark owner's yes",
    "cohort-declined": "its cohort was not accepted",
    "cohort-ended": "its cohort was taken out",
    "cohort-retired": "its cohort is retired",
    "no-test-cases": "its cohort has no test cases",
    "model-received": "the model waits for its check",
    "model-checking": "the model is being checked",
    "model-rejected": "the model did not pass its check",
    "model-withdrawn": "the model was withdrawn",
    "model-requested": "the model waits for the benchmark owner's yes",
    "model-declined": "the model was not accepted",
    "model-ended": "the model was taken out",
    "evaluation-cancelled": "a newer evaluation took its place",
    "not-in-this-run": "it joins the hospital's next evaluation",
}
"""Why nobody asked a hospital for a model: a code for programs, words for people."""


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation at a hospital, with the state of its task."""

    id: str
    models: frozenset[str]
    state: str
    task: str = "offered"
    held: bool = False
    done: int = 0
    total: int = 0
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Hospital:
    """What decides a hospital's cells. ``runs`` are newest first; ``undefined`` is why its result has no number."""

    state: str
    association: str
    cohort: str
    test_cases: int
    runs: tuple[Run, ...]
    accepted: Run | None
    undefined: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What decides a model's cells: its own state, and that of its place on the benchmark."""

    digest: str
    state: str
    place: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One model at one hospital."""

    state: State
    code: str | None = None
    evaluation: str | None = None
    progress: str = ""

    @property
    def mark(self) -> str:
        return MARKS[self.state]

    @property
    def words(self) -> str:
        return self.progress or STATES[self.state]

    @property
    def cause(self) -> str:
        """Why it is not scored, in words; empty where it is, or soon will be."""
        return "" if self.code is None else CAUSES.get(self.code) or reason(self.code)


def cell(hospital: Hospital, model: Candidate) -> Cell:
    """Return the state of one model at one hospital."""
    if hospital.accepted is not None and model.digest in hospital.accepted.models:
        state: State = "undefined" if hospital.undefined else "scored"
        return Cell(state, hospital.undefined, hospital.accepted.id)
    asked = next((run for run in hospital.runs if model.digest in run.models and run.state != "cancelled"), None)
    return _asked(asked) if asked is not None else Cell("missing", _cause(hospital, model))


def _asked(run: Run) -> Cell:
    if run.state in ("declined", "refused"):
        return Cell("declined" if run.state == "declined" else "refused", run.code, run.id)
    if run.held:
        return Cell("held", None, run.id)
    if run.task == "running":
        return Cell("running", None, run.id, f"{run.done} of {run.total}" if run.total else "")
    return Cell("running" if run.task in ("claimed", "reported") else "waiting", None, run.id)


def _cause(hospital: Hospital, model: Candidate) -> str:
    causes = (
        (hospital.state != "active", f"silo-{hospital.state}"),
        (hospital.cohort == "retired", "cohort-retired"),
        (hospital.association != "approved", f"cohort-{hospital.association}"),
        (hospital.test_cases == 0, "no-test-cases"),
        (model.state != "accepted", f"model-{model.state}"),
        (model.place != "approved", f"model-{model.place}"),
    )
    return next((code for holds, code in causes if holds), "not-in-this-run")


def counted(cells: Sequence[Cell]) -> dict[State, int]:
    """Return how many cells there are of each state, the most telling first; states without any are left out."""
    counts = {state: sum(found.state == state for found in cells) for state in STATES}
    return {state: count for state, count in counts.items() if count}
