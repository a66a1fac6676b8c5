"""People, organisations and tokens as messages, in as many queries whatever their number."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from federation_hub.accounts.messages import OrganisationView, PersonView, TokenView
from federation_hub.accounts.tables import Organisation, Person, PersonIdentity, PersonPassword, Token
from federation_hub.silos.tables import Silo


def person_views(session: Session, rows: Sequence[Person]) -> tuple[PersonView, ...]:
    """Return persons as their admin sees them."""
    ids = [row.id for row in rows]
    homes = {row.id: row.name for row in session.scalars(select(Organisation))}
    ways = set(session.scalars(select(PersonPassword.person_id).where(PersonPassword.person_id.in_(ids))))
    ways |= set(session.scalars(select(PersonIdentity.person_id).where(PersonIdentity.person_id.in_(ids))))
    return tuple(
        PersonView(
            person_id=row.id,
            name=row.name,
            organisation_id=row.organisation_id,
            organisation=homes[row.organisation_id],
            roles=tuple(row.roles),
            active=row.active,
            signs_in=row.id in ways,
            created=row.created,
        )
        for row in rows
    )


def organisation_views(session: Session, rows: Sequence[Organisation]) -> tuple[OrganisationView, ...]:
    """Return organisations with how many persons and silos each has."""
    persons, silos = (
        dict(session.execute(select(table.organisation_id, func.count()).group_by(table.organisation_id)).all())
        for table in (Person, Silo)
    )
    return tuple(
        OrganisationView(
            organisation_id=row.id,
            name=row.name,
            persons=persons.get(row.id, 0),
            silos=silos.get(row.id, 0),
            created=row.created,
        )
        for row in rows
    )


def tokens_in_force(person_id: str, at: datetime) -> Select[Token]:
    """Select a person's tokens that work."""
    lasting = or_(Token.expires.is_(None), Token.expires > at)
    return select(Token).where(Token.person_id == person_id, Token.revoked.is_(None), lasting)


def token_view(row: Token) -> TokenView:
    """Return a token without its secret."""
    return TokenView(token_id=row.id, name=row.name, scopes=tuple(row.scopes), created=row.created, expires=row.expires)
