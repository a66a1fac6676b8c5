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
