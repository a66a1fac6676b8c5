"""Making organisations, persons and their tokens. Only the hub's operator does this, at the command line."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import ROLES, SYSTEM, Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Organisation, Person, Token
from federation_hub.accounts.tokens import new_token, token_hash
from federation_hub.config import HubConfig
from federation_hub.db import Database, now
from federation_hub.keys import write_secret
from silo_node.wire.errors import BadInput, MedSiloError

OPERATOR = "Hub operator"
ADMIN = "admin"


def organisation_named(session: Session, name: str) -> Organisation:
    """Return the organisation of this name, made where there is none."""
    found = session.scalar(select(Organisation).where(Organisation.name == name))
    if found is None:
        found = Organisation(name=name)
        session.add(found)
        session.flush()
        record(session, SYSTEM, "organisation.add", found.id, None, "active")
    return found


def add_person(session: Session, *, name: str, organisation: str, roles: Sequence[str], actor: Actor = SYSTEM) -> str:
    """Add a person and return a token with all of these roles, shown this once; raises ``already-exists``."""
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise BadInput("config-invalid", f"roles are {', '.join(ROLES)}")
    if session.scalar(select(Person.id).where(Person.name == name)) is not None:
        raise MedSiloError("already-exists")
    person = Person(organisation_id=organisation_named(session, organisation).id, name=name, roles=sorted(set(roles)))
    session.add(person)
    session.flush()
    record(session, actor, "person.add", person.id, None, "active")
    return issue_token(session, actor=actor, person=person, scopes=person.roles)


def issue_token(
    session: Session, *, person: Person, scopes: Sequence[str], actor: Actor, lifetime: timedelta | None = None
) -> str:
    """Make a person's token; its scopes can only narrow the person's roles."""
    token = new_token("msp_")
    expires = None if lifetime is None else now() + lifetime
    row = Token(hash=token_hash(token), person_id=person.id, scopes=sorted(set(scopes)), expires=expires)
    session.add(row)
    session.flush()
    record(session, actor, "token.issue", row.id, None, "active")
    return token


def revoke_tokens(session: Session, *, silo_id: str, actor: Actor) -> None:
    """Revoke every token of a silo."""
    for row in session.scalars(select(Token).where(Token.silo_id == silo_id, Token.revoked.is_(None))):
        row.revoked = now()
        record(session, actor, "token.revoke", row.id, "active", "revoked")


def ensure_admin(config: HubConfig, database: Database) -> None:
    """Make the first admin and write its token to ``admin-token``, once in a hub's life."""
    with database.session() as session:
        if session.scalar(select(Person.id).where(Person.name == ADMIN)) is not None:
            return
        token = add_person(session, name=ADMIN, organisation=OPERATOR, roles=["hub-admin", "benchmark-owner"])
        # A token file without its row would be worse than no file, so the file is replaced inside the transaction.
        config.admin_token_path.unlink(missing_ok=True)
        write_secret(config.admin_token_path, token.encode() + b"\n")
