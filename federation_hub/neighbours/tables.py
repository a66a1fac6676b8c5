"""The signed sealing keys of a study's silos."""

from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base


class NeighbourKey(Base):
    """What a silo stated with its yes: under which public keys its neighbours encrypt for it."""

    __tablename__ = "neighbour_key"

    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), primary_key=True)
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"), primary_key=True)
    plan_digest: Mapped[str] = mapped_column(String(80))
    envelope: Mapped[dict[str, Any]]
    """The signed ``SealingKey``, passed on verbatim."""
