"""``federation-hub audit``: who did what and when, for the operator at the machine itself."""

from datetime import datetime
from typing import Annotated

import typer

from federation_hub.accounts import trail
from federation_hub.accounts.messages import AuditView
from federation_hub.accounts.trail import TrailQuery
from federation_hub.cli.session import Json, Session, operator, show
from federation_hub.paging import MOST
from silo_node.wire.errors import BadInput


def audit(
    context: typer.Context,
    actor: Annotated[str, typer.Option(help="Only what this person or silo did, by id.")] = "",
    action: Annotated[str, typer.Option(help="Only actions that begin so: `silo.` or `silo.approve`.")] = "",
    subject: Annotated[str, typer.Option(help="Only what was done to this person, silo, model or result, by id.")] = "",
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="From this day on, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Up to this day, UTC.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many lines at most; 0 is all.")] = 100,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, as the page's download has it.")] = False,
    as_json: Json = False,
) -> None:
    """Read the audit trail, the newest line first. Nothing in it can be changed or dropped.

    Example: federation-hub audit --action silo. --since 2026-11-01 --json
    """
    if csv and as_json:
        raise BadInput("config-invalid", "--csv and --json are two ways to print the same")
    query = TrailQuery(
        actor=_short(actor),
        action=_short(action),
        subject=_short(subject),
        since=since.date() if since else None,
        until=until.date() if until else None,
    )
    lines = _lines(context.obj, query, limit)
    if csv:
        typer.echo(trail.as_csv(lines), nl=False)
        return
    text = "\n".join(_line(line) for line in lines) or "No line fits."
    show({"entries": [line.model_dump(mode="json") for line in lines]}, as_json=as_json, text=text)


def _lines(hub: Session, query: TrailQuery, limit: int) -> list[AuditView]:
    found: list[AuditView] = []
    with hub.services() as services, services.database.reading() as session:
        reader = operator(services)
        while True:
            rest = min(MOST, limit - len(found)) if limit else MOST
            page = trail.read(session, reader, query.model_copy(update={"limit": rest}))
            found += trail.views(session, page.rows)
            if page.next is None or len(found) == limit:
                return found
            query = query.model_copy(update={"cursor": page.next})


def _line(line: AuditView) -> str:
    change = f"{line.before or '-'} > {line.after}" + (f" ({line.reason})" if line.reason else "")
    who = line.actor or line.actor_id
    return f"{line.at:%Y-%m-%d %H:%M:%S}  {line.action:<20}  {line.subject}  {change}  by {who}"


def _short(text: str) -> str:
    if len(text) > 100:
        raise BadInput("config-invalid", "an id or the beginning of an action has at most 100 letters")
    return text
