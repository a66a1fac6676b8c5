"""The device flow: a program without a browser gets a token that a person approves elsewhere (RFC 8628).

The program knows a long device code, the person types a short user code; the hub keeps the hash of each. Asking more
often than agreed is answered ``slow_down`` and makes the program wait five seconds longer each time (section 3.5).
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import ROLES, Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.service import issue_token, person_of_id
from federation_hub.accounts.tables import DeviceRequest
from federation_hub.accounts.tokens import token_hash
from silo_node.wire.errors import MedSiloError

LIFETIME = timedelta(minutes=15)
TOKEN_LIFETIME = timedelta(days=90)
TOKEN_NAME = "medsilo login"  # noqa: S105 - what the token is called
SLOWER_BY = 5
# Section 6.1: consonants only, so that no word comes out, and nothing that is easily misread.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A fresh request; both codes are shown this once."""

    device_code: str
    user_code: str
    expires: datetime
    interval: int


@dataclass(frozen=True, slots=True)
class Granted:
    """The token a person approved."""

    token: str
    scopes: tuple[str, ...]
    lifetime: timedelta


class DeviceRefusal(Exception):
    """Why there is no token, in the words of RFC 8628 section 3.5."""


def ask(session: Session, scopes: list[str], *, interval: int, at: datetime) -> Asked:
    """Take a program's request; raises ``invalid_scope`` for a role there is not."""
    if any(scope not in ROLES for scope in scopes):
        raise DeviceRefusal("invalid_scope")
    device_code = secrets.token_urlsafe(32)
    user_code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    session.add(
        DeviceRequest(
            hash=token_hash(device_code),
            user_code=token_hash(user_code),
            state="waiting",
            scopes=sorted(set(scopes)),
            interval=interval,
            expires=at + LIFETIME,
        )
    )
    return Asked(device_code, f"{user_code[:4]}-{user_code[4:]}", at + LIFETIME, interval)


def waiting(session: Session, user_code: str, at: datetime) -> DeviceRequest:
    """Return the request a person's code belongs to; raises ``device-code-unknown``."""
    typed = "".join(letter for letter in user_code.upper() if letter in _LETTERS)
    row = session.scalar(select(DeviceRequest).where(DeviceRequest.user_code == token_hash(typed)))
    if row is None or row.state != "waiting" or row.expires <= at:
        raise MedSiloError("device-code-unknown")
    return row


def scopes_for(asked: list[str], roles: frozenset[str]) -> list[str]:
    """Return what a program may do for a person: what it asked for, else everything but administering the hub."""
    wanted = frozenset(asked) or (roles - {"hub-admin"} or roles)
    return sorted(wanted & roles)


def decide(session: Session, user_code: str, *, approve: bool, actor: Actor, at: datetime) -> None:
    """Let a program act for a person, or not; raises ``device-code-unknown`` or ``scope-too-wide``."""
    row = waiting(session, user_code, at)
    scopes = scopes_for(row.scopes, actor.roles)
    if approve and not scopes:
        raise MedSiloError("scope-too-wide")
    row.state, row.person_id, row.scopes = "approved" if approve else "denied", actor.id, scopes
    record(session, actor, "device.decide", actor.id, "waiting", row.state)


def poll(session: Session, device_code: str, at: datetime) -> Granted | DeviceRefusal:
    """Return the token once it was approved, else why not yet; the token is given once.

    A refusal is returned, not raised: that a program was told to slow down must be written down.
    """
    row = session.get(DeviceRequest, token_hash(device_code))
    if row is None or row.state == "spent":
        return DeviceRefusal("invalid_grant")
    if row.expires <= at:
        return DeviceRefusal("expired_token")
    early = row.polled is not None and (at - row.polled).total_seconds() < row.interval
    row.polled = at
    if early:
        row.interval += SLOWER_BY
        return DeviceRefusal("slow_down")
    if row.state != "approved" or row.person_id is None:
        return DeviceRefusal("access_denied" if row.state == "denied" else "authorization_pending")
    person = person_of_id(session, row.person_id)
    scopes = sorted(set(row.scopes) & set(person.roles))
    if not person.active or not scopes:
        return DeviceRefusal("access_denied")
    row.state = "spent"
    actor = Actor("person", person.id, frozenset(scopes), person.organisation_id)
    token = issue_token(session, person=person, scopes=scopes, actor=actor, lifetime=TOKEN_LIFETIME, name=TOKEN_NAME)
    return Granted(token, tuple(scopes), TOKEN_LIFETIME)


def forget_old(session: Session, at: datetime) -> None:
    """Drop requests that ran out a day ago; until then a program is told that its code has expired."""
    session.execute(delete(DeviceRequest).where(DeviceRequest.expires < at - timedelta(days=1)))
