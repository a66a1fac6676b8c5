"""One row for each group of a masked round, and one for what each of its silos has said."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base

_ROUND = (
    ["study_id", "number", "attempt"],
    ["study_round.study_id", "study_round.number", "study_round.attempt"],
)


class MaskingGroup(Base):
    """Where a group stands: advertising, sharing, masking, confirming, opening, opened or void."""

    __tablename__ = "masking_group"
    __table_args__ = (ForeignKeyConstraint(*_ROUND),)

    study_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    """Which of the plan's groups it is, from nought."""

    stage: Mapped[str] = mapped_column(String(16), default="advertising")
    deadline: Mapped[datetime]
    """Until when this stage waits."""

    size: Mapped[int]
    """Silos the plan deals into the group, whether or not they take part."""


class MaskingSite(Base):
    """What one silo has said in a masked round: its signed envelopes as JSON, each once."""

    __tablename__ = "masking_site"
    __table_args__ = (ForeignKeyConstraint(*_ROUND),)

    study_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"), primary_key=True)
    place: Mapped[int]
    keys: Mapped[dict[str, Any] | None]
    shares: Mapped[dict[str, Any] | None]
    confirmation: Mapped[dict[str, Any] | None]
    opening: Mapped[dict[str, Any] | None]
    survived: Mapped[bool] = mapped_column(default=False)
    """Whether its masked update is in the sum."""
