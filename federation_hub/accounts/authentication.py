"""From an ``Authorization`` header to an actor."""

import secrets
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import ANONYMOUS, Actor
from federation_hub.accounts.tables import Person, Token
from federation_hub.accounts.tokens import token_hash, well_formed
from federation_hub.db import Database, now
from federation_hub.silos.tables import Silo
from silo_node.wire.errors import MedSiloError

# Made once: it is asked at every request, and putting it together takes longer than its answer.
_OWNER = (
    select(Token, Silo, Person)
    .outerjoin(Silo, Silo.id == Token.silo_id)
    .outerjoin(Person, Person.id == Token.person_id)
    .where(Token.hash == bindparam("wanted"))
)


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
    found = session.execute(_OWNER, {"wanted": wanted}).first()
    if found is None:
        raise MedSiloError("not-authenticated")
    row, silo, person = found
    # The index found it by its hash; comparing again in constant time costs nothing and leaks nothing.
    if not secrets.compare_digest(row.hash, wanted) or row.revoked is not None:
        raise MedSiloError("not-authenticated")
    if row.expires is not None and row.expires <= now():
        raise MedSiloError("not-authenticated")
    return _person_actor(person, row.scopes, row.expires) if silo is None else _silo_actor(silo, row.expires)


def _silo_actor(silo: Silo, expires: datetime | None) -> Actor:
    if silo.state == "revoked":
        raise MedSiloError("not-authenticated")
    roles = frozenset({"silo"}) if silo.state == "active" else frozenset[str]()
    return Actor("silo", silo.id, roles, silo.organisation_id, expires)


def _person_actor(person: Person, scopes: list[str], expires: datetime | None) -> Actor:
    if not person.active:
        raise MedSiloError("not-authenticated")
    return Actor("person", person.id, frozenset(person.roles) & frozenset(scopes), person.organisation_id, expires)
