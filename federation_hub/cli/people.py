"""Commands about persons and organisations, acting in the name of the hub's admin."""

from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session as Transaction

from federation_hub.accounts import invitations
from federation_hub.accounts.invitations import NewInvitation
from federation_hub.accounts.service import (
    OPERATOR,
    add_organisation,
    add_person,
    new_person,
    person_named,
    set_active,
    set_roles,
)
from federation_hub.accounts.tables import Organisation, Person
from federation_hub.accounts.views import organisation_views, person_views
from federation_hub.cli.session import Json, Session, operator, show
from federation_hub.db import now
from silo_node.wire.errors import BadInput

person = typer.Typer(no_args_is_help=True, help="People: their roles, their tokens, and how they come to sign in.")
organisation = typer.Typer(no_args_is_help=True, help="Hospitals, universities and companies.")
Name = Annotated[str, typer.Argument(help="The person's name.")]
RoleOption = Annotated[list[str], typer.Option("--role", help="A role; may be given several times.")]
OrganisationOption = Annotated[str, typer.Option(help="Hospital, university or company.")]


@person.command("add")
def add(
    context: typer.Context,
    name: Name,
    role: RoleOption,
    organisation: OrganisationOption = OPERATOR,
    as_json: Json = False,
) -> None:
    """Add a person and print a token, this once.

    Example: federation-hub person add "Ada Example" --role researcher --organisation "University"
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        token = add_person(session, name=name, organisation=organisation, roles=role, actor=operator(services))
    show({"name": name, "organisation": organisation, "roles": role, "token": token}, as_json=as_json, text=token)


@person.command("invite")
def invite(
    context: typer.Context,
    name: Name,
    role: RoleOption,
    organisation: OrganisationOption = OPERATOR,
    as_json: Json = False,
) -> None:
    """Add a person and print a one-time link to the page where a password is set or an identity linked.

    Example: federation-hub person invite "Ada Example" --role researcher --organisation "University"
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        actor = operator(services)
        found = new_person(session, name=name, organisation=organisation, roles=role, actor=actor)
        made = invitations.invite(session, found, actor=actor, at=now())
    _tell(made, hub, as_json=as_json)


@person.command("reset")
def reset(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Print a new one-time link for a person who lost the first one, or the password.

    Example: federation-hub person reset "Ada Example"
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        made = invitations.invite(session, _named(session, name), actor=operator(services), at=now())
    _tell(made, hub, as_json=as_json)


@person.command("roles")
def roles(context: typer.Context, name: Name, role: RoleOption, as_json: Json = False) -> None:
    """Give a person exactly these roles; they count at once.

    Example: federation-hub person roles "Ada Example" --role researcher --role benchmark-owner
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        found = set_roles(session, _named(session, name).id, role, actor=operator(services))
        facts = {"name": found.name, "roles": list(found.roles)}
    show(facts, as_json=as_json, text=f"{name}: {', '.join(facts['roles'])}")


@person.command("withdraw")
def withdraw(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Withdraw an account: its sessions and tokens end at once.

    Example: federation-hub person withdraw "Ada Example"
    """
    _activate(context, name, False, as_json=as_json)


@person.command("reinstate")
def reinstate(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Give a withdrawn account back; its tokens stay revoked.

    Example: federation-hub person reinstate "Ada Example"
    """
    _activate(context, name, True, as_json=as_json)


@person.command("list")
def list_persons(context: typer.Context, as_json: Json = False) -> None:
    """List everybody with an account.

    Example: federation-hub person list
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.reading() as session:
        found = person_views(session, session.scalars(select(Person).order_by(Person.name)).all())
    lines = [
        f"{row.person_id}  {'active' if row.active else 'withdrawn':<9}  {row.name} ({row.organisation}): "
        + ", ".join(row.roles)
        for row in found
    ]
    show({"persons": [row.model_dump(mode="json") for row in found]}, as_json=as_json, text="\n".join(lines))


@organisation.command("add")
def add_one(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The organisation's name.")],
    as_json: Json = False,
) -> None:
    """Add an organisation.

    Example: federation-hub organisation add "St. Example Hospital"
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        found = add_organisation(session, name, actor=operator(services))
        facts = {"organisation_id": found.id, "name": found.name}
    show(facts, as_json=as_json, text=f"{facts['organisation_id']}  {name}")


@organisation.command("list")
def list_organisations(context: typer.Context, as_json: Json = False) -> None:
    """List the organisations with how many persons and silos each has.

    Example: federation-hub organisation list
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.reading() as session:
        rows = session.scalars(select(Organisation).order_by(Organisation.name)).all()
        found = organisation_views(session, rows)
    lines = [f"{row.organisation_id}  {row.persons:>3} persons  {row.silos:>3} silos  {row.name}" for row in found]
    show({"organisations": [row.model_dump(mode="json") for row in found]}, as_json=as_json, text="\n".join(lines))


def _activate(context: typer.Context, name: str, active: bool, *, as_json: bool) -> None:
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        found = set_active(session, _named(session, name).id, active, actor=operator(services))
        facts = {"name": found.name, "active": found.active}
    show(facts, as_json=as_json, text=f"{name} is {'active' if active else 'withdrawn'}.")


def _named(session: Transaction, name: str) -> Person:
    found = person_named(session, name)
    if found is None:
        raise BadInput("not-found", "federation-hub person list shows the names there are")
    return found


def _tell(made: NewInvitation, hub: Session, *, as_json: bool) -> None:
    link = f"{hub.config.public_url or ''}/join?code={made.code}"
    facts = {"person_id": made.person_id, "code": made.code, "link": link, "expires": made.expires.isoformat()}
    show(facts, as_json=as_json, text=f"{link}   valid until {made.expires:%d %b %H:%M} UTC, once")
