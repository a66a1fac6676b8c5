"""Silos, their one-time enrolment codes, and the cohorts they registered."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, new_id, now


class Silo(Base):
    """A hospital's node. ``state``: invited, pending, active, suspended, revoked."""

    __tablename__ = "silo"

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("silo"))
    name: Mapped[str] = mapped_column(String(120), unique=True)
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    public_key: Mapped[str | None] = mapped_column(String(60))
    software_version: Mapped[str | None] = mapped_column(String(40))
    wire_version: Mapped[int | None]
    publication: Mapped[str] = mapped_column(String(16), default="withheld")
    """How results of this site are published: pseudonym (the default), named (its own wish) or withheld."""

    checks: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The operator's own node: submitted models run on its demo cohort first, and no leaderboard counts it."""

    created: Mapped[datetime] = mapped_column(default=now)
    enrolled: Mapped[datetime | None]
    last_seen: Mapped[datetime | None]


class SiloKeyRow(Base):
    """Every key a silo has had. ``until`` is set once another follows; what it signed before stays verifiable."""

    __tablename__ = "silo_key"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"), index=True)
    public_key: Mapped[str] = mapped_column(String(60))
    since: Mapped[datetime] = mapped_column(default=now)
    until: Mapped[datetime | None]


class RequestNonce(Base):
    """A nonce of a signed request, kept until the request's time is out of the window."""

    __tablename__ = "request_nonce"

    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"), primary_key=True)
    nonce: Mapped[str] = mapped_column(String(24), primary_key=True)
    expires: Mapped[datetime] = mapped_column(index=True)


class EnrolmentCode(Base):
    """A one-time code, kept as its hash. A used one is kept so that a second use can be told apart and reported."""

    __tablename__ = "enrolment_code"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"), index=True)
    expires: Mapped[datetime]
    used: Mapped[datetime | None]


class Cohort(Base):
    """A frozen cohort as its silo registered it for one benchmark version. ``state``: registered, retired.

    ``training_cases`` is the weight of the silo in every federated average of a study over this benchmark.
    """

    __tablename__ = "cohort"
    __table_args__ = (UniqueConstraint("silo_id", "fingerprint"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("coh"))
    silo_id: Mapped[str] = mapped_column(ForeignKey("silo.id"), index=True)
    benchmark_id: Mapped[str] = mapped_column(ForeignKey("benchmark.id"), index=True)
    fingerprint: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(16))
    training_cases: Mapped[int]
    validation_cases: Mapped[int]
    test_cases: Mapped[int]
    card: Mapped[dict[str, Any]]
    """A ``CohortCard`` as JSON."""

    registration: Mapped[dict[str, Any]]
    """The silo's signed ``Envelope`` as JSON: the proof, kept verbatim."""

    created: Mapped[datetime] = mapped_column(default=now)
