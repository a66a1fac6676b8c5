"""Organisations, persons, their roles and tokens: what the operator's commands, the API and the pages all do."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts import sessions
from federation_hub.accounts.actors import ROLES, SYSTEM, Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Organisation, Person, PersonPassword, Token
from federation_hub.accounts.tokens import new_token, token_hash
from federation_hub.config import HubConfig
from federation_hub.db import Database, now
from federation_hub.keys import write_secret
from silo_node.wire.errors import BadInput, MedSiloError

OPERATOR = "Hub operator"
ADMIN = "admin"


def organisation_named(session: Session, name: str, actor: Actor = SYSTEM) -> Organisation:
    """Return the organisation of this name, made where there is none."""
    found = session.scalar(select(Organisation).where(Organisation.name == name))
    if found is None:
        found = Organisation(name=name)
        session.add(found)
        session.flush()
        record(session, actor, "organisation.add", found.id, None, "active")
    return found


def organisation_names(session: Session) -> dict[str, str]:
    """Return the name of every organisation by its id, in order of names: for lists whose lines name some of them."""
    found = session.execute(select(Organisation.id, Organisation.name).order_by(Organisation.name))
    return {row.id: row.name for row in found}


def add_person(session: Session, *, name: str, organisation: str, roles: Sequence[str], actor: Actor = SYSTEM) -> str:
    """Add a person and return a token with all of these roles, shown this once; raises ``already-exists``."""
    person = new_person(session, name=name, organisation=organisation, roles=roles, actor=actor)
    return issue_token(session, actor=actor, person=person, scopes=person.roles)


def new_person(
    session: Session, *, name: str, organisation: str, roles: Sequence[str], actor: Actor = SYSTEM
) -> Person:
    """Add a person who cannot sign in yet; raises ``already-exists`` or ``role-unknown``."""
    checked = checked_roles(roles)
    if session.scalar(select(Person.id).where(Person.name == name)) is not None:
        raise MedSiloError("already-exists")
    person = Person(organisation_id=organisation_named(session, organisation, actor).id, name=name, roles=checked)
    session.add(person)
    session.flush()
    record(session, actor, "person.add", person.id, None, "active")
    return person


def checked_roles(roles: Sequence[str]) -> list[str]:
    """Return roles in a fixed order; raises ``role-unknown`` for one there is not, or for none."""
    if not roles or any(role not in ROLES for role in roles):
        raise BadInput("role-unknown", f"roles are {', '.join(ROLES)}")
    return sorted(set(roles))


def set_roles(session: Session, person_id: str, roles: Sequence[str], *, actor: Actor) -> Person:
    """Give a person other roles; tokens keep what of theirs is left. Raises ``last-admin``."""
    person, after = person_of_id(session, person_id), checked_roles(roles)
    if "hub-admin" not in after:
        _keep_an_admin(session, person)
    for role in sorted(set(after) ^ set(person.roles)):
        before, then = ("with", "without") if role in person.roles else ("without", "with")
        record(session, actor, "person.role", person.id, before, then, reason=role)
    person.roles = after
    return person


def set_active(session: Session, person_id: str, active: bool, *, actor: Actor) -> Person:
    """Withdraw an account or give it back. Withdrawing ends its sessions and tokens at once; raises ``last-admin``."""
    person = person_of_id(session, person_id)
    if person.active == active:
        raise MedSiloError("state-conflict")
    if not active:
        _keep_an_admin(session, person)
        sessions.end_all(session, person.id, actor)
        for row in session.scalars(select(Token).where(Token.person_id == person.id, Token.revoked.is_(None))):
            _revoke(session, row, actor)
    person.active = active
    before, then = ("withdrawn", "active") if active else ("active", "withdrawn")
    record(session, actor, "person.active", person.id, before, then)
    return person


def person_of_id(session: Session, person_id: str) -> Person:
    """Return a person; raises ``not-found``."""
    found = session.get(Person, person_id)
    if found is None:
        raise MedSiloError("not-found")
    return found


def person_named(session: Session, name: str) -> Person | None:
    """Return the person of this name, or None."""
    return session.scalar(select(Person).where(Person.name == name))


def set_password(session: Session, person: Person, hashed: str, *, actor: Actor, keep: str | None = None) -> None:
    """Give a person a password, already hashed; every browser but the one of the cookie ``keep`` is signed out."""
    row = session.get(PersonPassword, person.id)
    if row is None:
        session.add(PersonPassword(person_id=person.id, hash=hashed))
    else:
        row.hash, row.changed = hashed, now()
    record(session, actor, "person.password", person.id, None if row is None else "set", "set")
    sessions.end_all(session, person.id, actor, but=keep)


def password_of(session: Session, person: Person | None) -> str | None:
    """Return what is kept of a person's password; None for nobody, for no password and for a withdrawn account."""
    row = session.get(PersonPassword, person.id) if person is not None and person.active else None
    return row.hash if row else None


def add_organisation(session: Session, name: str, *, actor: Actor) -> Organisation:
    """Add an organisation; raises ``already-exists``."""
    if session.scalar(select(Organisation.id).where(Organisation.name == name)) is not None:
        raise MedSiloError("already-exists")
    return organisation_named(session, name, actor)


def issue_token(
    session: Session,
    *,
    person: Person,
    scopes: Sequence[str],
    actor: Actor,
    lifetime: timedelta | None = None,
    name: str | None = None,
) -> str:
    """Make a person's token; its scopes can only narrow the person's roles."""
    token = new_token("msp_")
    expires = None if lifetime is None else now() + lifetime
    row = Token(hash=token_hash(token), person_id=person.id, scopes=sorted(set(scopes)), expires=expires, name=name)
    session.add(row)
    session.flush()
    record(session, actor, "token.issue", row.id, None, "active")
    return token


def own_token(
    session: Session, actor: Actor, scopes: Sequence[str], lifetime: timedelta, name: str
) -> tuple[Token, str]:
    """Make a token of the actor's own; raises ``scope-too-wide`` where it could do more, or longer, than its maker."""
    wanted = checked_roles(scopes or sorted(actor.roles))
    longest = actor.token_expires
    if not set(wanted) <= actor.roles or (longest is not None and now() + lifetime > longest):
        raise MedSiloError("scope-too-wide")
    person = person_of_id(session, actor.id)
    token = issue_token(session, person=person, scopes=wanted, actor=actor, lifetime=lifetime, name=name)
    return session.scalars(select(Token).where(Token.hash == token_hash(token))).one(), token


def revoke_own(session: Session, actor: Actor, token_id: str) -> None:
    """Revoke one of the actor's own tokens; raises ``not-found``, also for what is somebody else's."""
    row = session.get(Token, token_id)
    if row is None or row.person_id != actor.id:
        raise MedSiloError("not-found")
    if row.revoked is None:
        _revoke(session, row, actor)


def _revoke(session: Session, row: Token, actor: Actor) -> None:
    row.revoked = now()
    record(session, actor, "token.revoke", row.id, "active", "revoked")


def _keep_an_admin(session: Session, person: Person) -> None:
    """Raise ``last-admin`` where nobody else could administer the hub; the operator's own account always can."""
    others = session.scalars(select(Person).where(Person.id != person.id, Person.active))
    if "hub-admin" in person.roles and not any("hub-admin" in other.roles for other in others):
        raise MedSiloError("last-admin")


def revoke_tokens(session: Session, *, silo_id: str, actor: Actor) -> None:
    """Revoke every token of a silo."""
    for row in session.scalars(select(Token).where(Token.silo_id == silo_id, Token.revoked.is_(None))):
        _revoke(session, row, actor)


def ensure_admin(config: HubConfig, database: Database) -> None:
    """Make the first admin and write its token to ``admin-token``, once in a hub's life."""
    with database.session() as session:
        if session.scalar(select(Person.id).where(Person.name == ADMIN)) is not None:
            return
        token = add_person(session, name=ADMIN, organisation=OPERATOR, roles=["hub-admin", "benchmark-owner"])
        # A token file without its row would be worse than no file, so the file is replaced inside the transaction.
        config.admin_token_path.unlink(missing_ok=True)
        write_secret(config.admin_token_path, token.encode() + b"\n")
