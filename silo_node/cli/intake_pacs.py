"""``silo-node intake listen|pacs|dicomweb``: images from a PACS."""

import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from silo_node.cli.intake_report import Collection, intake_rules, report_facts, report_text
from silo_node.cli.session import Json, Session, session_of, show

if TYPE_CHECKING:
    from silo_node.config import ListenerSettings


def listen(
    context: typer.Context,
    collection: Collection = "default",
    address: Annotated[str | None, typer.Option(help="Listen here instead of intake.listener.address.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen here instead of intake.listener.port.")] = None,
    as_json: Json = False,
) -> None:
    """Take in what a PACS or a device sends (C-STORE), until stopped. The settings are intake.listener's.

    A study is taken in once nothing came of it for intake.quiet_seconds.

    Example: silo-node intake listen --collection chest
    """
    from silo_node.intake.pacs.listener import Listener
    from silo_node.intake.run import IntakeReport
    from silo_node.intake.standing import stand

    session, whole = session_of(context), IntakeReport()
    listener = Listener(_listener(session, address, port), on_listening=_tell_port)
    _stop_on_signals(listener.stop)
    received = stand(
        session.home,
        listener,
        intake_rules(session, collection),
        quiet_seconds=session.config.intake.quiet_seconds,
        on_report=whole.add,
    )
    whole.add_received(received)
    show(report_facts(whole), as_json=as_json, text=report_text(whole))


def _listener(session: Session, address: str | None, port: int | None) -> "ListenerSettings":
    settings = session.config.intake.listener
    changes = {"address": address or settings.address, "port": settings.port if port is None else port}
    return settings.model_copy(update=changes)


def _tell_port(port: int) -> None:
    typer.echo(f"Listening on port {port}.", err=True)


def _stop_on_signals(stop: threading.Event) -> None:
    """Let SIGTERM and Ctrl-C end the intake in order: what has arrived is booked."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
