"""Benchmark versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, new_id, now


class Benchmark(Base):
    """One published version of a benchmark. ``state``: published, superseded, retired. Never changed otherwise."""

    __tablename__ = "benchmark"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("bench"))
    name: Mapped[str] = mapped_column(String(40))
    version: Mapped[int]
    digest: Mapped[str] = mapped_column(String(80), unique=True)
    state: Mapped[str] = mapped_column(String(16))
    definition: Mapped[dict[str, Any]]
    """A ``BenchmarkDefinition`` as JSON; its canonical digest is ``digest``."""

    owner_organisation_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    owner_person_id: Mapped[str] = mapped_column(String(40))
    created: Mapped[datetime] = mapped_column(default=now)
