"""The tables of the intake log."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base


class IntakeRow(Base):
    """One request body of a silo as it arrived. Rows are only ever added."""

    __tablename__ = "intake_entry"
    __table_args__ = (Index(None, "silo_id", "id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"))
    received: Mapped[datetime]
    method: Mapped[str] = mapped_column(String(8))
    path: Mapped[str] = mapped_column(String(200))
    subject: Mapped[str] = mapped_column(String(80))
    digest: Mapped[str] = mapped_column(String(80))
    size: Mapped[int] = mapped_column(BigInteger)


class SpoolRow(Base):
    """Up to which number the lines of one process's file are in the log, so that none is written twice."""

    __tablename__ = "intake_spool"

    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    written: Mapped[int] = mapped_column(BigInteger)
