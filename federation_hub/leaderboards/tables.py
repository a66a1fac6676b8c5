"""Snapshots of leaderboards, and which of them are out of date."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, now


class Snapshot(Base):
    """One immutable leaderboard, named by the digest of its bytes: the same inputs always give the same row."""

    __tablename__ = "leaderboard_snapshot"
    __table_args__ = (Index(None, "benchmark_id", "superseded_by"),)

    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    benchmark_id: Mapped[str] = mapped_column(ForeignKey("benchmark.id"))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    """RFC 8785 canonical JSON, in the exact bytes that ``digest`` names."""

    manifest: Mapped[dict[str, Any] | None]
    """What it was computed from: blocks by digest, models, and how each hospital was told (``inputs.manifest``)."""

    created: Mapped[datetime] = mapped_column(default=now)
    superseded_by: Mapped[str | None] = mapped_column(String(80))
    """Digest of the snapshot that took its place; None for the one that stands."""


class BoardRevision(Base):
    """How often what a board is made of has changed, and up to which change it was computed."""

    __tablename__ = "leaderboard_revision"

    benchmark_id: Mapped[str] = mapped_column(ForeignKey("benchmark.id"), primary_key=True)
    changed: Mapped[int]
    computed: Mapped[int]
