"""What people see of evaluations."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from silo_node.wire.base import Code, Digest, Identifier, Message, Name
from silo_node.wire.models import Visibility

RetryReason = Literal["labels-corrected", "software-fault", "site-ready", "model-added", "result-withdrawn"]
"""Why a site is asked once more."""

DisputeReason = Literal[
    "labels-wrong", "cohort-wrong", "model-wrong", "trained-on-test-data", "software-fault", "implausible"
]
"""Why a result should not stand."""

Because = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Why somebody decided as he did, in his own words: written at the hub, never by a silo."""

CellState = Literal[
    "released", "undefined", "disputed", "withdrawn", "waiting", "running", "held", "declined", "refused", "missing"
]
"""``held``: computed, and waits for a person's release at the hospital; ``missing``: not asked, see the code."""


class ResultView(Message):
    """A hospital's signed result: accepted, superseded, disputed or withdrawn, and why."""

    digest: Digest
    state: str
    reason: Code | None
    received: datetime
    decision: str | None = None
    """Why a dispute about it was decided as it was, in the words of whoever decided."""


class EvaluationView(Message):
    """An evaluation and how far it is. ``silo_id`` is told to the benchmark's owner and the hub's admin only."""

    evaluation_id: Identifier
    benchmark: Name
    benchmark_version: int
    silo_id: Identifier | None
    models: tuple[Digest, ...]
    attempt: int
    state: str
    task_state: str | None
    code: Code | None
    reason: Code | None
    """Why it was asked for again."""

    result: ResultView | None
    refused: dict[Digest, Code]
    """Models the site did not run, with its code for each; it ran the others."""

    held: bool
    progress_done: int
    progress_total: int
    created: datetime
    finished: datetime | None


class EvaluationList(Message):
    """Evaluations a person may see, newest first."""

    evaluations: tuple[EvaluationView, ...]
    next: str | None = None


class Retry(Message):
    """Which silo to ask again, or all of them, and why."""

    silo_id: Identifier | None = None
    reason: RetryReason | None = None


class Dispute(Message):
    """Why a result should not stand."""

    reason: DisputeReason


class Settlement(Message):
    """Whether a disputed result stands after all; if not, it is withdrawn, for the disputer's reason or another.

    Whoever lets it stand says ``because`` of what; who withdraws it may. Those the result concerns can read it.
    """

    uphold: bool
    reason: DisputeReason | None = None
    because: Because | None = None


class MatrixSite(Message):
    """A hospital as readers know it; ``silo_id`` is told to the benchmark's owner and the hub's admin only."""

    label: str
    silo_id: Identifier | None


class MatrixCell(Message):
    """Where one model stands at one hospital."""

    state: CellState
    code: Code | None = None
    """Why there is no number; a reason of a dispute or withdrawal."""

    evaluation_id: Identifier | None = None
    done: int = 0
    total: int = 0
    attempt: int | None = None


class MatrixRow(Message):
    """One model; ``cells`` in the order of the sites."""

    model: Digest
    name: str
    organisation: str
    version: int
    attempt: int | None
    phase: Name | None
    visibility: Visibility
    priority: int
    baseline: bool
    cells: tuple[MatrixCell, ...]


class Matrix(Message):
    """Sites by models of one benchmark version, a page of its models."""

    benchmark: Name
    benchmark_version: int
    sites: tuple[MatrixSite, ...]
    models: tuple[MatrixRow, ...]
    next: str | None = None
