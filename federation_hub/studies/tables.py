"""Studies, their rounds, and one row for what each silo was asked and answered."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, new_id, now


class Study(Base):
    """A federated training run. ``state``: draft, recruiting, running, paused, completed, failed, stopped."""

    __tablename__ = "study"

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("study"))
    state: Mapped[str] = mapped_column(String(16), index=True)
    code: Mapped[str | None] = mapped_column(String(60))
    """Why it failed or was stopped."""

    plan: Mapped[dict[str, Any]]
    """A ``StudyPlan`` as JSON, never changed."""

    plan_digest: Mapped[str] = mapped_column(String(80))
    benchmark_id: Mapped[str] = mapped_column(ForeignKey("benchmark.id"), index=True)
    model_digest: Mapped[str] = mapped_column(ForeignKey("model.digest"))
    """The model whose weights are the first global model."""

    weights_digest: Mapped[str | None] = mapped_column(String(80))
    """The present global model, a safetensors file; from the start of the study on."""

    moments: Mapped[dict[str, Any] | None]
    """Digests of the server optimiser's moments that belong to the present global model, by name."""

    best_round: Mapped[int | None]
    """The round that made the best of the scored models that stand."""

    best_digest: Mapped[str | None] = mapped_column(String(80))
    """That model, a safetensors file."""

    private: Mapped[dict[str, Any] | None]
    """Of a study with noise at the hub: how many noisy means were begun, and the present clipping norm."""

    final_model_digest: Mapped[str | None] = mapped_column(ForeignKey("model.digest"))
    owner_organisation_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"), index=True)
    owner_person_id: Mapped[str] = mapped_column(ForeignKey("person.id"))
    created: Mapped[datetime] = mapped_column(default=now)
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]


class StudyRound(Base):
    """One attempt at one round. ``state``: open, collecting, aggregating, committed, abandoned, revoked."""

    __tablename__ = "study_round"

    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    code: Mapped[str | None] = mapped_column(String(60))
    """Why it was abandoned."""

    validate_only: Mapped[bool] = mapped_column(default=False)
    base_digest: Mapped[str] = mapped_column(String(80))
    """The global model this round starts from."""

    base_round: Mapped[int | None]
    """The round that made it; the one before, where nothing was rolled back."""

    base_score: Mapped[float | None]
    """What it scored at the sites, over all of them as the plan asks for it."""

    verdict: Mapped[str | None] = mapped_column(String(16))
    """What the sites made of it: accepted or vetoed; None where it was not scored."""

    weights_digest: Mapped[str | None] = mapped_column(String(80))
    """The global model this round committed."""

    moments: Mapped[dict[str, Any] | None]
    """Digests of the server optimiser's moments this round committed, by name."""

    deadline: Mapped[datetime]
    opened: Mapped[datetime] = mapped_column(default=now)
    closed: Mapped[datetime | None]
    """When the hub stopped waiting for updates."""

    finished: Mapped[datetime | None]


class StudyUpdate(Base):
    """What one silo was asked in a round and what it answered.

    ``state``: expected, receiving (its report is here, its file is being checked), verified, rejected, folded, late.
    """

    __tablename__ = "study_update"
    __table_args__ = (
        ForeignKeyConstraint(
            ["study_id", "number", "attempt"], ["study_round.study_id", "study_round.number", "study_round.attempt"]
        ),
    )

    study_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"), primary_key=True)
    task_id: Mapped[str] = mapped_column(ForeignKey("task.id"), unique=True)
    cohort_id: Mapped[str] = mapped_column(ForeignKey("cohort.id"))
    weight: Mapped[int]
    """The registered cohort's training cases when the round was opened."""

    started: Mapped[int | None]
    """The round whose base it started from; in a buffered study that may be an earlier one than this."""

    state: Mapped[str] = mapped_column(String(16), default="expected")
    code: Mapped[str | None] = mapped_column(String(60))
    """Why it was rejected."""

    digest: Mapped[str | None] = mapped_column(String(80))
    size: Mapped[int | None] = mapped_column(BigInteger)
    norm: Mapped[float | None]
    """L2 norm of the verified update."""

    mark: Mapped[str | None] = mapped_column(String(60))
    """Why an update that counted stands out; see :mod:`federation_hub.aggregation.free_riders`."""

    report: Mapped[dict[str, Any] | None]
    """The ``RoundReport`` as JSON, with the score of the round's incoming global model at this site."""

    envelope: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    """The silo's signed ``Envelope`` as JSON: the proof, kept verbatim and read only when it is asked for."""

    received: Mapped[datetime | None]
