"""``silo-node outbox``: see what wants to leave, let it go, or keep it here."""

from typing import Annotated

import typer

from silo_node.cli.session import Json, Session, session_of, show, table

app = typer.Typer(no_args_is_help=True, help="See what wants to leave this site, let it go, or keep it here.")
ItemId = Annotated[str, typer.Argument(help="An item's id, from `outbox list`.")]


@app.command("list")
def list_items(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also what is done with.")] = False,
    as_json: Json = False,
) -> None:
    """List what waits to leave.

    Example: silo-node outbox list
    """
    from silo_node.outbox.box import Outbox
    from silo_node.outbox.states import LIVE
    from silo_node.outbox.words import document

    with session_of(context).journal() as journal:
        items = Outbox(journal).items(*(() if everything else LIVE))
    rows = [(item.item_id, item.state, item.kind, item.subject, item.changed, item.released_by) for item in items]
    text = table(["item", "state", "kind", "for", "since", "released by"], rows) if rows else "Nothing waits to leave."
    show([document(item) for item in items], as_json=as_json, text=text)


@app.command("show")
def show_item(context: typer.Context, item_id: ItemId, as_json: Json = False) -> None:
    """Show exactly what an item would send, field by field.

    Example: silo-node outbox show out-3f9a1c20b7
    """
    from silo_node.outbox.box import Outbox
    from silo_node.outbox.words import document, words

    with session_of(context).journal() as journal:
        item = Outbox(journal).item(item_id)
    show(document(item), as_json=as_json, text=words(item))


@app.command("release")
def release_item(context: typer.Context, item_id: ItemId, as_json: Json = False) -> None:
    """Let a held item go. Your user name is noted with it.

    Example: silo-node outbox release out-3f9a1c20b7
    """
    from silo_node.outbox.box import Outbox
    from silo_node.outbox.words import document, summary

    session = session_of(context)
    with session.journal() as journal:
        item = Outbox(journal).release(item_id)
        _send_if_nobody_else_will(session)
        item = Outbox(journal).item(item.item_id)
    show(document(item), as_json=as_json, text=summary(item))


@app.command("reject")
def reject_item(context: typer.Context, item_id: ItemId, as_json: Json = False) -> None:
    """Keep a held item here for good; the hub is told a code and nothing else.

    Example: silo-node outbox reject out-3f9a1c20b7
    """
    from silo_node.agent.releases import reject
    from silo_node.outbox.box import Outbox
    from silo_node.outbox.words import document, summary

    session = session_of(context)
    with session.journal() as journal:
        decided = reject(journal, lambda: session.identity, item_id)
        _send_if_nobody_else_will(session)
        item = Outbox(journal).item(decided.item_id)
    show(document(item), as_json=as_json, text=summary(item))


def _send_if_nobody_else_will(session: Session) -> None:
    from silo_node.agent.releases import deliver_unless_a_node_runs

    deliver_unless_a_node_runs(session.home, session.config, session.identity)
