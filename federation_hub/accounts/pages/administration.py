"""What the hub's admin does in the browser: people, organisations, and which hospitals' nodes are let in."""

from datetime import timedelta

from flask import Blueprint, redirect
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts import invitations
from federation_hub.accounts.actors import ROLES
from federation_hub.accounts.browser import here, read_form, signed_in
from federation_hub.accounts.pages.forms import Fingerprint, NewPerson, NewSilo, Nothing, Roles
from federation_hub.accounts.service import new_person, organisation_names, person_of_id, set_active, set_roles
from federation_hub.accounts.tables import Organisation, Person
from federation_hub.accounts.views import organisation_views, person_views
from federation_hub.api import current_actor
from federation_hub.db import now
from federation_hub.paging import page as listed
from federation_hub.services import services
from federation_hub.silos import service as silos
from federation_hub.silos.service import SILO
from federation_hub.silos.tables import Silo
from federation_hub.web.lists import asked_page
from federation_hub.web.rendering import page
from silo_node.wire.envelope import key_fingerprint
from silo_node.wire.errors import MedSiloError

ADMIN = frozenset({"hub-admin"})
EVENTS = ("suspend", "reinstate", "revoke")
blueprint = Blueprint("administration", __name__)


@signed_in(blueprint, "GET", "/admin/people", roles=ADMIN)
def people() -> str:
    """Show everybody with an account."""
    return _people()


@signed_in(blueprint, "POST", "/admin/people", roles=ADMIN)
def invite_person() -> str:
    """Add a person and show the one-time link, this once."""
    form, actor = read_form(NewPerson, several={"roles"}), current_actor()
    with services().database.session() as session:
        found = new_person(session, name=form.name, organisation=form.organisation, roles=form.roles, actor=actor)
        made = invitations.invite(session, found, actor=actor, at=now())
    return _people(name=form.name, link=f"{here()}/join?code={made.code}", expires=made.expires)


@signed_in(blueprint, "POST", "/admin/people/<person_id>/invitation", roles=ADMIN)
def invite_again(person_id: str) -> str:
    """Show a new one-time link for somebody, this once."""
    read_form(Nothing)
    with services().database.session() as session:
        found = person_of_id(session, person_id)
        made = invitations.invite(session, found, actor=current_actor(), at=now())
        name = found.name
    return _people(name=name, link=f"{here()}/join?code={made.code}", expires=made.expires)


@signed_in(blueprint, "POST", "/admin/people/<person_id>/roles", roles=ADMIN)
def change_roles(person_id: str) -> AnyResponse:
    """Give a person other roles."""
    form = read_form(Roles, several={"roles"})
    with services().database.session() as session:
        set_roles(session, person_id, form.roles, actor=current_actor())
    return redirect("/admin/people", 303)


@signed_in(blueprint, "POST", "/admin/people/<person_id>/withdraw", roles=ADMIN)
def withdraw(person_id: str) -> AnyResponse:
    """Withdraw an account."""
    return _activate(person_id, active=False)


@signed_in(blueprint, "POST", "/admin/people/<person_id>/reinstate", roles=ADMIN)
def reinstate(person_id: str) -> AnyResponse:
    """Give an account back."""
    return _activate(person_id, active=True)


@signed_in(blueprint, "GET", "/admin/silos", roles=ADMIN)
def silo_list() -> str:
    """Show the federation's silos and what may be done with each."""
    return _silos()


@signed_in(blueprint, "POST", "/admin/silos", roles=ADMIN)
def invite_silo() -> str:
    """Make a place for a hospital's node and show its one-time code, this once."""
    form, hub = read_form(NewSilo), services()
    lifetime = timedelta(seconds=hub.config.enrolment_code_seconds)
    with hub.database.session() as session:
        made = silos.invite(
            session, name=form.name, organisation=form.organisation, lifetime=lifetime, actor=current_actor()
        )
    return _silos(name=form.name, code=made.code, expires=made.expires)


@signed_in(blueprint, "POST", "/admin/silos/<silo_id>/approve", roles=ADMIN)
def approve_silo(silo_id: str) -> AnyResponse:
    """Let a pending silo in, with the fingerprint the hospital read out."""
    form = read_form(Fingerprint)
    with services().database.session() as session:
        silos.approve(session, silo_id, fingerprint=form.fingerprint, actor=current_actor())
    return redirect("/admin/silos", 303)


@signed_in(blueprint, "POST", "/admin/silos/<silo_id>/<event>", roles=ADMIN)
def change_silo(silo_id: str, event: str) -> AnyResponse:
    """Suspend, reinstate or revoke a silo."""
    read_form(Nothing)
    if event not in EVENTS:
        raise MedSiloError("not-found")
    with services().database.session() as session:
        silos.change(session, silo_id, event, current_actor())
    return redirect("/admin/silos", 303)


def _people(**fresh: object) -> str:
    with services().database.reading() as session:
        found = listed(session, select(Person), asked_page(), Person.name)
        homes = session.scalars(select(Organisation).order_by(Organisation.name)).all()
        return page(
            "account/people.html",
            persons=person_views(session, found.rows),
            next=found.next,
            organisations=organisation_views(session, homes),
            roles=ROLES,
            fresh=fresh,
        )


def _silos(**fresh: object) -> str:
    with services().database.reading() as session:
        found = listed(session, select(Silo), asked_page(), Silo.name)
        names = organisation_names(session)
        rows = [
            {
                "silo": silo,
                "organisation": names[silo.organisation_id],
                "fingerprint": key_fingerprint(silo.public_key) if silo.public_key else None,
                "events": [event for event in EVENTS if SILO.allows(silo.state, event)],
            }
            for silo in found.rows
        ]
        return page("account/silos.html", rows=rows, next=found.next, organisations=list(names.values()), fresh=fresh)


def _activate(person_id: str, *, active: bool) -> AnyResponse:
    read_form(Nothing)
    with services().database.session() as session:
        set_active(session, person_id, active, actor=current_actor())
    return redirect("/admin/people", 303)
