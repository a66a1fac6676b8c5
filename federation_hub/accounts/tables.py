"""Organisations, persons, the ways they sign in, their tokens and sessions, and the audit trail."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, new_id, now


class Organisation(Base):
    """A hospital, university or company. Two persons of one organisation are one side of a consent."""

    __tablename__ = "organisation"

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("org"))
    name: Mapped[str] = mapped_column(String(120), unique=True)
    created: Mapped[datetime] = mapped_column(default=now)


class Person(Base):
    """Somebody who acts on the hub, with the roles given by its admin."""

    __tablename__ = "person"

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("per"))
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"), index=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    roles: Mapped[list[str]]
    active: Mapped[bool] = mapped_column(default=True)
    created: Mapped[datetime] = mapped_column(default=now)


class Token(Base):
    """A bearer token of a person or a silo. Only its hash is kept; scopes can only narrow the owner's roles."""

    __tablename__ = "token"

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("tok"))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    person_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"), index=True)
    silo_id: Mapped[str | None] = mapped_column(ForeignKey("silo.id"), index=True)
    name: Mapped[str | None] = mapped_column(String(120))
    """What its owner calls it, to know it again in a list."""

    scopes: Mapped[list[str]]
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime | None]
    revoked: Mapped[datetime | None]


class AuditEntry(Base):
    """One transition: who changed what from which state to which, when and for which coded reason."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index(None, "subject", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(default=now)
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor_id: Mapped[str] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(100))
    before: Mapped[str | None] = mapped_column(String(20))
    after: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(60))


class PersonPassword(Base):
    """A person's password as its argon2id hash. A person who signs in elsewhere (OpenID Connect) has none."""

    __tablename__ = "person_password"

    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), primary_key=True)
    hash: Mapped[str] = mapped_column(String(160))
    changed: Mapped[datetime] = mapped_column(default=now)


class PersonIdentity(Base):
    """A subject of an identity provider that is a person here. Linked by invitation or by the person, never by name."""

    __tablename__ = "person_identity"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("idn"))
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    issuer: Mapped[str] = mapped_column(String(200))
    subject: Mapped[str] = mapped_column(String(255))
    linked: Mapped[datetime] = mapped_column(default=now)


class BrowserSession(Base):
    """A signed-in browser. The cookie's value is kept as its hash, so that a copy of the database signs nobody in."""

    __tablename__ = "browser_session"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    created: Mapped[datetime] = mapped_column(default=now)
    seen: Mapped[datetime] = mapped_column(default=now)


class Invitation(Base):
    """A one-time link by which a person sets a first or a new way to sign in, kept as its hash."""

    __tablename__ = "invitation"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]
    used: Mapped[datetime | None]


class SignInFlow(Base):
    """A browser that was sent to the identity provider and has not come back yet: what its answer must fit."""

    __tablename__ = "sign_in_flow"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the state that goes to the provider and back."""

    browser: Mapped[str] = mapped_column(String(64))
    """Of the cookie of the browser that began."""

    nonce: Mapped[str] = mapped_column(String(64))
    verifier: Mapped[str] = mapped_column(String(128))
    invitation: Mapped[str | None] = mapped_column(String(64))
    person_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"))
    next: Mapped[str] = mapped_column(String(400))
    expires: Mapped[datetime] = mapped_column(index=True)


class DeviceRequest(Base):
    """A program that waits for a person's approval (RFC 8628). ``state``: waiting, approved, denied, spent."""

    __tablename__ = "device_request"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the device code, which only the program knows."""

    user_code: Mapped[str] = mapped_column(String(64), unique=True)
    """Hash of the code that the person types."""

    state: Mapped[str] = mapped_column(String(16), default="waiting")
    scopes: Mapped[list[str]]
    person_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"))
    interval: Mapped[int]
    polled: Mapped[datetime | None]
    expires: Mapped[datetime] = mapped_column(index=True)


class IdempotentAnswer(Base):
    """What a request with an ``Idempotency-Key`` was answered, encrypted under that key and the caller's token."""

    __tablename__ = "idempotent_answer"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the caller and the key."""

    request: Mapped[str] = mapped_column(String(64))
    """Of method, path and body: the same key with another request is refused."""

    status: Mapped[int | None]
    """None while the first request is being answered."""

    answer: Mapped[bytes | None]
    created: Mapped[datetime] = mapped_column(default=now, index=True)
