"""``silo-node log``: every byte that left this site."""

from collections import deque
from dataclasses import asdict
from typing import Annotated

import typer

from silo_node.cli.session import Json, session_of, show, table

app = typer.Typer(help="Every byte that left this site.", invoke_without_command=True)


@app.callback()
def show_log(
    context: typer.Context,
    last: Annotated[int, typer.Option(help="How many lines, counted from the end.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the last request bodies that left this site: when, what, where to, how large, and their digest.

    Example: silo-node log --last 50
    """
    if context.invoked_subcommand is not None:
        return
    from silo_node.outbox.egress_log import EgressLog

    entries = deque(EgressLog(session_of(context).home.egress_log).entries(), maxlen=last)
    rows = [
        (entry.number, entry.departure.time, entry.departure.kind, entry.departure.path, entry.departure.size)
        for entry in entries
    ]
    values = [asdict(entry) for entry in entries]
    show(values, as_json=as_json, text=table(["line", "time", "what", "where to", "bytes"], rows))


@app.command("verify")
def verify_log(context: typer.Context, as_json: Json = False) -> None:
    """Check that no line of the log was changed, dropped or moved.

    Example: silo-node log verify
    """
    from silo_node.outbox.egress_log import EgressLog

    lines, last = EgressLog(session_of(context).home.egress_log).verify()
    text = f"The chain of {lines} lines holds. Its end is {last}"
    show({"lines": lines, "hash": last}, as_json=as_json, text=text)


@app.command("reconcile")
def reconcile_log(context: typer.Context, as_json: Json = False) -> None:
    """Compare this site's log with what the hub says it has received from it, and list every difference.

    Example: silo-node log reconcile

    Exit status 1 where the hub has anything that this site never logged.
    """
    from silo_node.outbox.egress_log import EgressLog
    from silo_node.outbox.reconcile import reconcile
    from silo_node.wire.errors import IntegrityError

    session = session_of(context)
    log = EgressLog(session.home.egress_log)
    with session.hub() as hub:
        arrivals = list(hub.intake_log())
    log.verify()
    found = reconcile((entry.departure for entry in log.entries()), arrivals)
    lines = [f"{found.agreed} request bodies are in both logs."]
    if found.signs_of_life:
        lines.append(f"Only here: {found.signs_of_life} questions for work and heartbeats.")
    if found.unknown_there:
        rows = [(one.time, one.kind, one.path, one.size) for one in found.unknown_there]
        lines += ["Only here, lost on the way or not kept by the hub:", table(["time", "what", "to", "bytes"], rows)]
    value = {
        "agreed": found.agreed,
        "unknown_here": [entry.model_dump(mode="json") for entry in found.unknown_here],
        "unknown_there": [asdict(one) for one in found.unknown_there],
        "signs_of_life": found.signs_of_life,
    }
    show(value, as_json=as_json, text="\n".join(lines))
    if not found.sound:
        first = found.unknown_here[0]
        raise IntegrityError("log-mismatch", f"{len(found.unknown_here)} lines, the first {first.method} {first.path}")
