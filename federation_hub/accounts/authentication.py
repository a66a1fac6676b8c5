"""From an ``Authorization`` header to an actor."""

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import ANONYMOUS, Actor
from federation_hub.accounts.tables import Person, Token
from federation_hub.accounts.tokens import token_hash, well_formed
from federation_hub.db import Database, now
from federation_hub.silos.tables import Silo
from silo_node.wire.errors import MedSiloError


def authenticate(database: Database, header: str | None) -> Actor:
    """Return who a bearer token belongs to, ``ANONYMOUS`` where there is no header; raises ``not-authenticated``."""
    if header is None:
        return ANONYMOUS
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.isascii() or not well_formed(token):
        raise MedSiloError("not-authenticated")
    with database.reading() as session:
        return actor_of_token(session, token)


def actor_of_token(session: Session, token: str) -> Actor:
    """Return the owner of an active token; raises ``not-authenticated``."""
    wanted = token_hash(token)
    row = session.scalar(select(Token).where(Token.hash == wanted))
    # The index found it by its hash; comparing again in constant time costs nothing and leaks nothing.
    if row is None or not secrets.compare_digest(row.hash, wanted) or row.revoked is not None:
        raise MedSiloError("not-authenticated")
    if row.expires is not None and row.expires <= now():
        raise MedSiloError("not-authenticated")
    if row.silo_id is not None:
        return _silo_actor(session.get_one(Silo, row.silo_id))
    return _person_actor(session.get_one(Person, row.person_id), row.scopes)


def _silo_actor(silo: Silo) -> Actor:
    if silo.state == "revoked":
        raise MedSiloError("not-authenticated")
    roles = frozenset({"silo"}) if silo.state == "active" else frozenset[str]()
    return Actor("silo", silo.id, roles, silo.organisation_id)


def _person_actor(person: Person, scopes: list[str]) -> Actor:
    if not person.active:
        raise MedSiloError("not-authenticated")
    return Actor("person", person.id, frozenset(person.roles) & frozenset(scopes), person.organisation_id)
