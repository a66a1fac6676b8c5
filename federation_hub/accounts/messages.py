"""What the hub tells people about themselves and, to its admin, about everybody."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from federation_hub.accounts.actors import Role
from silo_node.wire.base import Identifier, Message, Title

Roles = Annotated[tuple[Role, ...], Field(min_length=1, max_length=5)]


class Me(Message):
    """Who a token belongs to, and what it may do."""

    person_id: str
    name: str
    organisation_id: str
    organisation: str
    roles: tuple[str, ...]


class TokenWish(Message):
    """A token to be made for the one who asks: at most as wide, and as long, as the token it is asked with."""

    name: Title
    scopes: Annotated[tuple[Role, ...], Field(max_length=5)] = ()
    """Roles the token shall have; all of the asking token's where none is named."""

    days: Annotated[int, Field(ge=1, le=365)] = 90


class TokenView(Message):
    """A token without its secret."""

    token_id: Identifier
    name: str | None
    scopes: tuple[str, ...]
    created: datetime
    expires: datetime | None


class TokenIssued(Message):
    """A fresh token, shown this once."""

    token: str
    view: TokenView


class TokenList(Message):
    """One's tokens in force."""

    tokens: tuple[TokenView, ...]
    next: str | None = None


class PersonInvitation(Message):
    """Somebody who shall have an account."""

    name: Title
    organisation: Title
    roles: Roles


class InvitationLink(Message):
    """The one-time link by which a person sets a way to sign in, shown this once."""

    person_id: Identifier
    code: str
    link: str
    expires: datetime


class RoleChange(Message):
    """The roles a person shall have."""

    roles: Roles


class PersonView(Message):
    """A person as the hub's admin sees one."""

    person_id: Identifier
    name: str
    organisation_id: Identifier
    organisation: str
    roles: tuple[str, ...]
    active: bool
    signs_in: bool
    """Whether a password is set or an identity linked."""

    created: datetime


class PersonList(Message):
    """Persons, by name."""

    persons: tuple[PersonView, ...]
    next: str | None = None


class NewOrganisation(Message):
    """An organisation to be added."""

    name: Title


class OrganisationView(Message):
    """A hospital, university or company."""

    organisation_id: Identifier
    name: str
    persons: int
    silos: int
    created: datetime


class OrganisationList(Message):
    """Organisations, by name."""

    organisations: tuple[OrganisationView, ...]
    next: str | None = None


class AuditView(Message):
    """One line of the audit trail: who took what from which state to which, when, and for which coded reason."""

    number: int
    at: datetime
    actor_kind: str
    actor_id: str
    actor: str | None
    """The name of the person or silo that acted."""

    action: str
    subject: str
    before: str | None
    after: str
    reason: str | None


class AuditList(Message):
    """Lines of the audit trail, the newest first."""

    entries: tuple[AuditView, ...]
    next: str | None = None
