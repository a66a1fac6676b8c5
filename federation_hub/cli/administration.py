"""Commands about silos and benchmarks, acting on the home folder in the name of the hub's admin."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import select

from benchmarks.definition import load_definition
from federation_hub.benchmarks.service import publish
from federation_hub.cli.session import Json, Session, operator, show
from federation_hub.silos import service
from federation_hub.silos.tables import Silo
from silo_node.wire.envelope import key_fingerprint

silo = typer.Typer(no_args_is_help=True, help="Hospitals' nodes: invite, compare fingerprints, suspend.")
benchmark = typer.Typer(no_args_is_help=True, help="Benchmarks.")
SiloId = Annotated[str, typer.Argument(help="The silo's id, as `silo list` shows it.")]


@silo.command("invite")
def invite(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The silo's name.")],
    organisation: Annotated[str, typer.Option(help="The hospital it belongs to.")],
    as_json: Json = False,
) -> None:
    """Make a place for a hospital's node and print its one-time code.

    Example: federation-hub silo invite "St. Example" --organisation "St. Example Hospital"
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        lifetime = timedelta(seconds=services.config.enrolment_code_seconds)
        actor = operator(services)
        made = service.invite(session, name=name, organisation=organisation, lifetime=lifetime, actor=actor)
    facts = {"silo_id": made.silo_id, "code": made.code, "expires": made.expires.isoformat()}
    show(facts, as_json=as_json, text=f"{made.code}   valid until {made.expires:%H:%M} UTC, for {made.silo_id}")


@silo.command("approve")
def approve(
    context: typer.Context,
    silo_id: SiloId,
    fingerprint: Annotated[str, typer.Argument(help="What the hospital read out: 32 hexadecimal digits.")],
    as_json: Json = False,
) -> None:
    """Let a pending silo in, if the fingerprint is its key's.

    Example: federation-hub silo approve silo-3k9f0q2m1x7c "1a2b 3c4d ..."
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        found = service.approve(session, silo_id, fingerprint=fingerprint, actor=operator(services))
        show(_facts(found), as_json=as_json, text=f"{found.name} is active.")


@silo.command("suspend")
def suspend(context: typer.Context, silo_id: SiloId, as_json: Json = False) -> None:
    """Shut a silo out for the time being.

    Example: federation-hub silo suspend silo-3k9f0q2m1x7c
    """
    _change(context, silo_id, "suspend", as_json=as_json)


@silo.command("reinstate")
def reinstate(context: typer.Context, silo_id: SiloId, as_json: Json = False) -> None:
    """Let a suspended silo in again.

    Example: federation-hub silo reinstate silo-3k9f0q2m1x7c
    """
    _change(context, silo_id, "reinstate", as_json=as_json)


@silo.command("revoke")
def revoke(context: typer.Context, silo_id: SiloId, as_json: Json = False) -> None:
    """Shut a silo out for good.

    Example: federation-hub silo revoke silo-3k9f0q2m1x7c
    """
    _change(context, silo_id, "revoke", as_json=as_json)


@silo.command("check-node")
def check_node(
    context: typer.Context,
    silo_id: SiloId,
    off: Annotated[bool, typer.Option("--off", help="Make it an ordinary silo again.")] = False,
    as_json: Json = False,
) -> None:
    """Let a silo of the operator's own check submitted models before any hospital gets them.

    Its node needs `check_node = true` in silo.toml and a registered cohort of public demo data.

    Example: federation-hub silo check-node silo-3k9f0q2m1x7c
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        found = service.set_checks(session, silo_id, not off, actor=operator(services))
        facts = _facts(found)
    show(facts, as_json=as_json, text=f"{facts['name']} {'no longer checks' if off else 'checks'} submitted models.")


@silo.command("list")
def list_silos(context: typer.Context, as_json: Json = False) -> None:
    """List the silos with their state and fingerprint.

    Example: federation-hub silo list
    """
    hub: Session = context.obj
    with hub.services() as services, services.database.reading() as session:
        facts = [_facts(row) for row in session.scalars(select(Silo).order_by(Silo.name))]
    lines = [f"{row['silo_id']}  {row['state']:<9}  {row['fingerprint'] or '-':<39}  {row['name']}" for row in facts]
    show({"silos": facts}, as_json=as_json, text="\n".join(lines) or "No silo was invited yet.")


@benchmark.command("publish")
def publish_benchmark(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The definition, a benchmark.toml.")],
    as_json: Json = False,
) -> None:
    """Publish a benchmark version, for ever as it is.

    Example: federation-hub benchmark publish benchmarks/chest_phantom/benchmark.toml
    """
    definition = load_definition(file)
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        actor = operator(services)
        row = publish(session, definition, actor=actor, organisation_id=actor.organisation_id or "")
    facts = {"name": row.name, "version": row.version, "digest": row.digest, "state": row.state}
    show(facts, as_json=as_json, text=f"{row.name} version {row.version} is published: {row.digest}")


def _change(context: typer.Context, silo_id: str, event: str, *, as_json: bool) -> None:
    hub: Session = context.obj
    with hub.services() as services, services.database.session() as session:
        found = service.change(session, silo_id, event, operator(services))
        show(_facts(found), as_json=as_json, text=f"{found.name} is {found.state}.")


def _facts(row: Silo) -> dict[str, Any]:
    fingerprint = key_fingerprint(row.public_key) if row.public_key else None
    return {"silo_id": row.id, "name": row.name, "state": row.state, "fingerprint": fingerprint}
