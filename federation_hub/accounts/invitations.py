"""One-time links: how a person comes by a first way to sign in, or by a new one after losing it."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Invitation, Person
from federation_hub.accounts.tokens import token_hash
from silo_node.wire.errors import MedSiloError

LIFETIME = timedelta(days=3)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 32


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """A fresh one-time code and until when it is good. It is shown this once."""

    person_id: str
    code: str
    expires: datetime


def invite(session: Session, person: Person, *, actor: Actor, at: datetime) -> NewInvitation:
    """Make a one-time code for a person; one that was made before is good no longer."""
    if not person.active:
        raise MedSiloError("state-conflict")
    session.execute(delete(Invitation).where(Invitation.person_id == person.id, Invitation.used.is_(None)))
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    expires = at + LIFETIME
    session.add(Invitation(hash=token_hash(code), person_id=person.id, created=at, expires=expires))
    record(session, actor, "person.invite", person.id, None, "invited")
    return NewInvitation(person.id, code, expires)


def invited(session: Session, hashed: str, at: datetime) -> Person:
    """Return whom a code is for, without using it; raises ``invitation-invalid``."""
    row = session.get(Invitation, hashed)
    if row is None or row.used is not None or row.expires <= at:
        raise MedSiloError("invitation-invalid")
    person = session.get_one(Person, row.person_id)
    if not person.active:
        raise MedSiloError("invitation-invalid")
    return person


def spend(session: Session, hashed: str, at: datetime) -> Person:
    """Use a code up and return whom it was for; of two who try at once one gets ``invitation-invalid``."""
    person = invited(session, hashed, at)
    session.get_one(Invitation, hashed).used = at
    session.flush()
    return person
