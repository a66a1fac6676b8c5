"""Which subject of the identity provider is which person here, and the journeys of browsers to the provider and back.

An identity is linked by whoever holds a person's one-time invitation, or by the person while signed in. Nothing the
provider says about somebody else than its own subject, such as an e-mail address, links or signs in anybody.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from federation_hub.accounts import invitations
from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.sessions import person_actor
from federation_hub.accounts.tables import Person, PersonIdentity, PersonPassword, SignInFlow
from federation_hub.accounts.tokens import token_hash
from silo_node.wire.errors import MedSiloError

JOURNEY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Journey:
    """What a browser takes along to the provider, and what the answer must fit."""

    state: str
    browser: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why a browser was sent: to sign in, or to link an identity by an invitation or while signed in."""

    next: str
    invitation: str | None = None
    person_id: str | None = None


def set_out(session: Session, purpose: Purpose, at: datetime) -> Journey:
    """Remember a browser that goes to the provider."""
    journey = Journey(*(secrets.token_urlsafe(32) for _ in range(4)))
    session.add(
        SignInFlow(
            hash=token_hash(journey.state),
            browser=token_hash(journey.browser),
            nonce=journey.nonce,
            verifier=journey.verifier,
            invitation=purpose.invitation,
            person_id=purpose.person_id,
            next=purpose.next,
            expires=at + JOURNEY,
        )
    )
    return journey


def come_back(session: Session, state: str, browser: str | None, at: datetime) -> tuple[Journey, Purpose] | None:
    """Return the journey that ends here, once; None unless state, browser and time are those it began with."""
    row = session.get(SignInFlow, token_hash(state))
    if row is None:
        return None
    session.delete(row)
    if row.expires <= at or browser is None or not secrets.compare_digest(row.browser, token_hash(browser)):
        return None
    return Journey(state, browser, row.nonce, row.verifier), Purpose(row.next, row.invitation, row.person_id)


def person_for(session: Session, purpose: Purpose, issuer: str, subject: str, at: datetime) -> Person:
    """Return who is to be signed in, linking the identity where that is the purpose.

    Raises ``identity-unknown`` for a subject nobody is linked to, ``already-exists`` for one that is somebody else's,
    ``invitation-invalid`` for a link that was used meanwhile.
    """
    linked = session.scalar(select(PersonIdentity).filter_by(issuer=issuer, subject=subject))
    owner = _owner(session, purpose, at)
    if owner is None:
        person = session.get_one(Person, linked.person_id) if linked else None
        if person is None or not person.active:
            raise MedSiloError("identity-unknown")
        return person
    if linked is None:
        session.add(PersonIdentity(person_id=owner.id, issuer=issuer, subject=subject))
        record(session, person_actor(owner), "person.link", owner.id, None, "linked")
    elif linked.person_id != owner.id:
        raise MedSiloError("already-exists")
    return owner


def unlink(session: Session, identity_id: str, *, actor: Actor) -> None:
    """Forget one of the actor's identities; raises ``state-conflict`` where no other way to sign in would be left."""
    row = session.get(PersonIdentity, identity_id)
    if row is None or row.person_id != actor.id:
        raise MedSiloError("not-found")
    mine = PersonIdentity.person_id == actor.id
    others = session.scalar(select(func.count()).select_from(PersonIdentity).where(mine)) or 0
    if others == 1 and session.get(PersonPassword, actor.id) is None:
        raise MedSiloError("state-conflict")
    session.delete(row)
    record(session, actor, "person.link", actor.id, "linked", "unlinked")


def forget_old(session: Session, at: datetime) -> None:
    """Drop journeys nobody came back from."""
    session.execute(delete(SignInFlow).where(SignInFlow.expires < at))


def _owner(session: Session, purpose: Purpose, at: datetime) -> Person | None:
    if purpose.invitation is not None:
        return invitations.spend(session, purpose.invitation, at)
    return session.get(Person, purpose.person_id) if purpose.person_id else None
