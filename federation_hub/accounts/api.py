"""Routes about the one who asks, and about everybody for the hub's admin."""

from datetime import timedelta

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts import invitations, trail
from federation_hub.accounts.browser import here
from federation_hub.accounts.invitations import NewInvitation
from federation_hub.accounts.messages import (
    AuditList,
    InvitationLink,
    Me,
    NewOrganisation,
    OrganisationList,
    OrganisationView,
    PersonInvitation,
    PersonList,
    PersonView,
    RoleChange,
    TokenIssued,
    TokenList,
    TokenWish,
)
from federation_hub.accounts.service import (
    add_organisation,
    new_person,
    own_token,
    person_of_id,
    revoke_own,
    set_active,
    set_roles,
)
from federation_hub.accounts.tables import Organisation, Person, Token
from federation_hub.accounts.trail import READERS, TrailQuery
from federation_hub.accounts.views import organisation_views, person_views, token_view, tokens_in_force
from federation_hub.api import PERSON, current_actor, route
from federation_hub.db import now
from federation_hub.paging import PageQuery, page
from federation_hub.services import services

blueprint = Blueprint("accounts", __name__)
_ADMIN = frozenset({"hub-admin"})


@route(blueprint, "GET", "/me", returns=Me, roles=PERSON)
def me() -> Me:
    """Tell who the token belongs to."""
    actor = current_actor()
    with services().database.reading() as session:
        person = session.get_one(Person, actor.id)
        organisation = session.get_one(Organisation, person.organisation_id)
    return Me(
        person_id=person.id,
        name=person.name,
        organisation_id=organisation.id,
        organisation=organisation.name,
        roles=tuple(sorted(actor.roles)),
    )


@route(blueprint, "GET", "/tokens", query=PageQuery, returns=TokenList, roles=PERSON)
def tokens(query: PageQuery) -> TokenList:
    """List one's own tokens that work, the newest first."""
    with services().database.reading() as session:
        own = tokens_in_force(current_actor().id, now())
        found = page(session, own, query, Token.created, Token.id, newest_first=True)
        return TokenList(tokens=tuple(token_view(row) for row in found.rows), next=found.next)


@route(blueprint, "POST", "/tokens", body=TokenWish, returns=TokenIssued, status=201, roles=PERSON)
def make_token(body: TokenWish) -> TokenIssued:
    """Make a token of one's own, no wider and no longer than the one it is asked with."""
    with services().database.session() as session:
        row, token = own_token(session, current_actor(), body.scopes, timedelta(days=body.days), body.name)
        return TokenIssued(token=token, view=token_view(row))


@route(blueprint, "POST", "/tokens/<token_id>/revoke", roles=PERSON)
def revoke_token(token_id: str) -> None:
    """Let one of one's own tokens work no longer."""
    with services().database.session() as session:
        revoke_own(session, current_actor(), token_id)


@route(blueprint, "GET", "/persons", query=PageQuery, returns=PersonList, roles=_ADMIN)
def persons(query: PageQuery) -> PersonList:
    """List everybody with an account."""
    with services().database.reading() as session:
        found = page(session, select(Person), query, Person.name)
        return PersonList(persons=person_views(session, found.rows), next=found.next)


@route(blueprint, "POST", "/persons", body=PersonInvitation, returns=InvitationLink, status=201, roles=_ADMIN)
def invite_person(body: PersonInvitation) -> InvitationLink:
    """Add a person and make the one-time link by which a way to sign in is set."""
    actor = current_actor()
    with services().database.session() as session:
        person = new_person(session, name=body.name, organisation=body.organisation, roles=body.roles, actor=actor)
        return _link(invitations.invite(session, person, actor=actor, at=now()))


@route(blueprint, "POST", "/persons/<person_id>/invitation", returns=InvitationLink, status=201, roles=_ADMIN)
def invite_again(person_id: str) -> InvitationLink:
    """Make a new one-time link for a person who lost the first one, or the password."""
    with services().database.session() as session:
        person = person_of_id(session, person_id)
        return _link(invitations.invite(session, person, actor=current_actor(), at=now()))


@route(blueprint, "POST", "/persons/<person_id>/roles", body=RoleChange, returns=PersonView, roles=_ADMIN)
def change_roles(person_id: str, body: RoleChange) -> PersonView:
    """Give a person other roles; they count from the next request on."""
    with services().database.session() as session:
        return _view(session, set_roles(session, person_id, body.roles, actor=current_actor()))


@route(blueprint, "POST", "/persons/<person_id>/withdraw", returns=PersonView, roles=_ADMIN)
def withdraw_person(person_id: str) -> PersonView:
    """Withdraw an account: its sessions and tokens end at once."""
    with services().database.session() as session:
        return _view(session, set_active(session, person_id, False, actor=current_actor()))


@route(blueprint, "POST", "/persons/<person_id>/reinstate", returns=PersonView, roles=_ADMIN)
def reinstate_person(person_id: str) -> PersonView:
    """Give a withdrawn account back; its tokens stay revoked."""
    with services().database.session() as session:
        return _view(session, set_active(session, person_id, True, actor=current_actor()))


@route(blueprint, "GET", "/organisations", query=PageQuery, returns=OrganisationList, roles=PERSON)
def organisations(query: PageQuery) -> OrganisationList:
    """List the organisations of the federation."""
    with services().database.reading() as session:
        found = page(session, select(Organisation), query, Organisation.name)
        return OrganisationList(organisations=organisation_views(session, found.rows), next=found.next)


@route(blueprint, "POST", "/organisations", body=NewOrganisation, returns=OrganisationView, status=201, roles=_ADMIN)
def make_organisation(body: NewOrganisation) -> OrganisationView:
    """Add an organisation."""
    with services().database.session() as session:
        found = add_organisation(session, body.name, actor=current_actor())
        return organisation_views(session, [found])[0]


@route(blueprint, "GET", "/audit", query=TrailQuery, returns=AuditList, roles=READERS)
def audit(query: TrailQuery) -> AuditList:
    """Read the audit trail, the newest first: the hub's admin all of it, a data steward what is the organisation's."""
    with services().database.reading() as session:
        found = trail.read(session, current_actor(), query)
        return AuditList(entries=trail.views(session, found.rows), next=found.next)


def _view(session: Session, person: Person) -> PersonView:
    session.flush()
    return person_views(session, [person])[0]


def _link(made: NewInvitation) -> InvitationLink:
    link = f"{here()}/join?code={made.code}"
    return InvitationLink(person_id=made.person_id, code=made.code, link=link, expires=made.expires)
