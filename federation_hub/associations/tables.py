"""Associations of all three kinds in one table."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, new_id, now


class Association(Base):
    """A consent between two sides. ``kind``: cohort-benchmark, model-benchmark or silo-study.

    ``state``: requested, approved, declined, ended. ``requested_side`` is the side that asked, in the kind's own
    words (``cohort``, ``model``, ``benchmark``, ``study`` or ``silo``); only the other one may approve. A study is
    named without a foreign key because studies are a domain above this one.
    """

    __tablename__ = "association"
    __table_args__ = (
        UniqueConstraint("benchmark_id", "cohort_id"),
        UniqueConstraint("benchmark_id", "model_digest"),
        UniqueConstraint("study_id", "silo_id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("assoc"))
    kind: Mapped[str] = mapped_column(String(20), index=True)
    state: Mapped[str] = mapped_column(String(16))
    benchmark_id: Mapped[str] = mapped_column(ForeignKey("benchmark.id"), index=True)
    cohort_id: Mapped[str | None] = mapped_column(ForeignKey("cohort.id"))
    model_digest: Mapped[str | None] = mapped_column(ForeignKey("model.digest"))
    study_id: Mapped[str | None] = mapped_column(String(40))
    silo_id: Mapped[str | None] = mapped_column(ForeignKey("silo.id"), index=True)
    """The silo of a silo-study association or of the cohort's."""

    requested_side: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str] = mapped_column(String(40))
    requested_organisation_id: Mapped[str | None] = mapped_column(String(40))
    decided_by: Mapped[str | None] = mapped_column(String(40))
    reason: Mapped[str | None] = mapped_column(String(60))
    levels: Mapped[list[Any] | None]
    """Compression levels the silo of a study offers with its yes, by name; None where it does not negotiate."""

    created: Mapped[datetime] = mapped_column(default=now)
    decided: Mapped[datetime | None]
