"""Tasks, evaluations, and the estimate blocks that answer them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, cast
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, new_id, now


class Task(Base):
    """A unit of work for one silo. ``state``: see ``rules.TASK``.

    ``attempt`` counts leases. ``study_id`` has no foreign key because studies are a domain above this one.
    """

    __tablename__ = "task"
    __table_args__ = (Index(None, "silo_id", "state"), Index(None, "state", "lease_until"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("task"))
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"))
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="offered")
    evaluation_id: Mapped[str | None] = mapped_column(ForeignKey("evaluation.id"), index=True)
    study_id: Mapped[str | None] = mapped_column(String(40), index=True)
    round: Mapped[int | None]
    body: Mapped[dict[str, Any]]
    """An ``EvaluationTask`` or ``RoundTask`` as JSON."""

    available_from: Mapped[datetime] = mapped_column(default=now)
    lease_until: Mapped[datetime | None]
    attempt: Mapped[int] = mapped_column(default=0)
    held: Mapped[bool] = mapped_column(default=False)
    """The result is computed and waits for a person's release at the silo."""

    progress_done: Mapped[int] = mapped_column(default=0)
    progress_total: Mapped[int] = mapped_column(default=0)
    code: Mapped[str | None] = mapped_column(String(60))
    """Why it was declined, refused or cancelled."""

    result_digest: Mapped[str | None] = mapped_column(String(80))
    """Digest of the answering envelope's payload, so that the same answer sent twice gets the same reply."""

    result_state: Mapped[str | None] = mapped_column(String(16))
    """The reply given: accepted, refused or late."""

    created: Mapped[datetime] = mapped_column(default=now)
    touched: Mapped[datetime] = mapped_column(default=now)
    """The last transition (not the last heartbeat)."""


class Evaluation(Base):
    """One benchmark version, one cohort, one set of models. ``state``: open, answered, declined, refused, cancelled."""

    __tablename__ = "evaluation"
    __table_args__ = (Index(None, "benchmark_id", "cohort_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("eval"))
    benchmark_id: Mapped[str] = mapped_column(ForeignKey("benchmark.id"))
    cohort_id: Mapped[str] = mapped_column(ForeignKey("cohort.id"), index=True)
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"), index=True)
    models: Mapped[list[str]]
    """Bundle digests in the order of the block's vectors (sorted)."""

    attempt: Mapped[int]
    """1 for the first evaluation of this very set of models on this cohort, then 2, ..."""

    state: Mapped[str] = mapped_column(String(16), default="open")
    code: Mapped[str | None] = mapped_column(String(60))
    reason: Mapped[str | None] = mapped_column(String(60))
    """Why it was asked for again, where somebody said so."""

    refused: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """Models the site did not run, by digest, with its code for each; the others are in the block."""

    created: Mapped[datetime] = mapped_column(default=now)
    finished: Mapped[datetime | None]


class EstimateBlockRow(Base):
    """An accepted estimate block. ``state``: accepted, superseded, disputed, withdrawn.

    A block is superseded when a later one of its cohort has all its models. Of very many models a cohort has a block
    for each group; where two have a model (a baseline), the later one counts.
    """

    __tablename__ = "estimate_block"
    __table_args__ = (Index(None, "benchmark_id", "state"),)

    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    """BLAKE3 of the signed payload's exact bytes."""

    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluation.id"), unique=True)
    task_id: Mapped[str] = mapped_column(ForeignKey("task.id"))
    benchmark_id: Mapped[str] = mapped_column(ForeignKey("benchmark.id"))
    cohort_id: Mapped[str] = mapped_column(ForeignKey("cohort.id"), index=True)
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default="accepted")
    reason: Mapped[str | None] = mapped_column(String(60))
    """Why it was disputed, withdrawn or superseded."""

    decision: Mapped[str | None] = mapped_column(String(500))
    """Why a dispute was decided as it was, in words."""

    disputed_by: Mapped[str | None] = mapped_column(String(40))
    disputed_organisation_id: Mapped[str | None] = mapped_column(String(40))
    block: Mapped[dict[str, Any]]
    """An ``EstimateBlock`` as JSON; where many are read, see :func:`block_text`."""

    envelope: Mapped[dict[str, Any]]
    """The silo's signed ``Envelope`` as JSON: the proof, kept verbatim."""

    received: Mapped[datetime] = mapped_column(default=now)


def block_text() -> ColumnElement[str]:
    """Select blocks as the text they are kept in: parsing JSON is most of what reading thousands of them takes."""
    return cast(EstimateBlockRow.block, Text)
