"""Uploads in progress."""

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, new_id, now


class Upload(Base):
    """The wish to store some bytes. ``state``: receiving, complete, failed. How far it is, the partial file tells."""

    __tablename__ = "upload"

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("upl"))
    digest: Mapped[str] = mapped_column(String(80), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    purpose: Mapped[str] = mapped_column(String(16))
    owner_kind: Mapped[str] = mapped_column(String(16))
    owner_id: Mapped[str] = mapped_column(String(40), index=True)
    organisation_id: Mapped[str | None] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(16), default="receiving")
    created: Mapped[datetime] = mapped_column(default=now)
    finished: Mapped[datetime | None]
