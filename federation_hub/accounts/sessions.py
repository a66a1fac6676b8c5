"""Browser sessions, kept on the server: who is signed in, since when, and when that ends.

A cookie's value is 256 random bits, of which the hub keeps the hash. Signing in always makes a new one and ends the one
the browser came with, so that nobody can plant a session (fixation). It ends after a time without a request, and after
a longer time in any case; signing out, a new password and a withdrawn account end it at once.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import BrowserSession, Person
from federation_hub.accounts.tokens import token_hash
from federation_hub.config import HubConfig

SEEN_EVERY = timedelta(minutes=1)
"""A request within a minute of the last one is not written down: reading must not cost a write."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a session lasts: without a request, and at most."""

    idle: timedelta
    longest: timedelta

    @staticmethod
    def of(config: HubConfig) -> "Lifetime":
        """Return the lifetime a hub is set to."""
        return Lifetime(timedelta(minutes=config.session_idle_minutes), timedelta(hours=config.session_hours))

    def over(self, created: datetime, seen: datetime, at: datetime) -> bool:
        """Tell whether a session has ended."""
        return at - seen > self.idle or at - created > self.longest


def begin(session: Session, person: Person, *, replaces: str | None, how: str, at: datetime) -> str:
    """Sign a person in and return the cookie's value; the session the browser came with is over."""
    end(session, replaces)
    value = secrets.token_urlsafe(32)
    session.add(BrowserSession(hash=token_hash(value), person_id=person.id, created=at, seen=at))
    record(session, person_actor(person), "session.begin", person.id, None, how)
    return value


def find(session: Session, value: str | None, lifetime: Lifetime, at: datetime) -> Actor | None:
    """Return who is signed in with a cookie, or None where there is none, it is over, or the account was withdrawn."""
    found = _row(session, value)
    if found is None or lifetime.over(found.created, found.seen, at):
        return None
    person = session.get_one(Person, found.person_id)
    return person_actor(person) if person.active else None


def worth_noting(session: Session, value: str, at: datetime) -> bool:
    """Tell whether this request has to be written down as the session's latest."""
    found = _row(session, value)
    return found is not None and at - found.seen > SEEN_EVERY


def note(session: Session, value: str, at: datetime) -> None:
    """Write down that the session is still used."""
    found = _row(session, value)
    if found is not None:
        found.seen = at


def end(session: Session, value: str | None) -> None:
    """Sign one browser out."""
    found = _row(session, value)
    if found is not None:
        person = session.get_one(Person, found.person_id)
        session.delete(found)
        record(session, person_actor(person), "session.end", person.id, "signed-in", "signed-out")


def end_all(session: Session, person_id: str, actor: Actor, *, but: str | None = None) -> int:
    """Sign a person out everywhere, but for one cookie; return how many browsers that were."""
    others = BrowserSession.person_id == person_id
    if but is not None:
        others &= BrowserSession.hash != token_hash(but)
    count = session.scalar(select(func.count()).select_from(BrowserSession).where(others)) or 0
    session.execute(delete(BrowserSession).where(others))
    if count:
        record(session, actor, "session.end-all", person_id, "signed-in", "signed-out")
    return count


def running(session: Session, person_id: str, lifetime: Lifetime, at: datetime) -> int:
    """Return in how many browsers a person is signed in."""
    rows = session.scalars(select(BrowserSession).where(BrowserSession.person_id == person_id))
    return sum(not lifetime.over(row.created, row.seen, at) for row in rows)


def forget_old(session: Session, lifetime: Lifetime, at: datetime) -> None:
    """Drop the rows of sessions that are over."""
    over = (BrowserSession.created < at - lifetime.longest) | (BrowserSession.seen < at - lifetime.idle)
    session.execute(delete(BrowserSession).where(over))


def person_actor(person: Person) -> Actor:
    """Return a person as rules see one who is signed in: with all of the roles."""
    return Actor("person", person.id, frozenset(person.roles), person.organisation_id)


def _row(session: Session, value: str | None) -> BrowserSession | None:
    return session.get(BrowserSession, token_hash(value)) if value else None
