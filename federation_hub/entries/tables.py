"""Entries."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, new_id, now


class Entry(Base):
    """A model that was submitted to a benchmark version. What a study registers has no entry: nobody submitted it.

    ``visibility``: public, private, embargoed (until ``embargo_until``). Consent to it is in ``association``.
    """

    __tablename__ = "entry"
    __table_args__ = (UniqueConstraint("benchmark_id", "model_digest"), Index(None, "benchmark_id", "organisation_id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("entry"))
    benchmark_id: Mapped[str] = mapped_column(ForeignKey("benchmark.id"))
    model_digest: Mapped[str] = mapped_column(ForeignKey("model.digest"), index=True)
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    person_id: Mapped[str] = mapped_column(String(40))
    attempt: Mapped[int]
    """The organisation's how manieth model on this benchmark version, private ones counted."""

    phase: Mapped[str | None] = mapped_column(String(40))
    visibility: Mapped[str] = mapped_column(String(16), default="public")
    embargo_until: Mapped[datetime | None]
    priority: Mapped[int] = mapped_column(default=0)
    """Where a report cannot hold all models, those of a higher priority go first. The benchmark's owner sets it."""

    baseline: Mapped[bool | None]
    """The benchmark owner's word on whether it is a baseline; None leaves the card's."""

    created: Mapped[datetime] = mapped_column(default=now)
