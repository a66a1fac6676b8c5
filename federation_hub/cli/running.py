"""Commands that run the hub's processes."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from federation_hub.cli.session import Json, Session, show
from federation_hub.logging import configure_logging
from silo_node.wire.errors import ConfigError

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)]
ReadyFile = Annotated[Path | None, typer.Option(help="Write {url, pid} here as JSON once the hub listens.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Write log lines as JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log every request.")]


def up(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8750,
    ready_file: ReadyFile = None,
    log_json: LogJson = False,
    verbose: Verbose = False,
) -> None:
    """Run a whole hub in one process: web, API and the engine of studies.

    Makes what is missing in the home folder (database, key, admin token) and brings the database up to date.

    Example: federation-hub --home ./hub up --port 8750
    """
    _run(context.obj, host, port, ready_file, log_json=log_json, verbose=verbose, engine=True)


def web(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8750,
    ready_file: ReadyFile = None,
    log_json: LogJson = False,
    verbose: Verbose = False,
) -> None:
    """Run web and API only; studies are run by `federation-hub worker` processes on the same database.

    Example: federation-hub web --host 0.0.0.0
    """
    _run(context.obj, host, port, ready_file, log_json=log_json, verbose=verbose, engine=False)


def worker(context: typer.Context, log_json: LogJson = False, verbose: Verbose = False) -> None:
    """Run the engine of studies only.

    Example: federation-hub worker
    """
    from federation_hub.engine.engine import Engine
    from federation_hub.server import stop_on_signals

    configure_logging(as_json=log_json, verbose=verbose)
    session: Session = context.obj
    with session.alone(), session.services() as services:
        engine = Engine(session.config)
        engine.launch(replace(services, engine=engine))
        stop_on_signals()
        try:
            threading.Event().wait()
        finally:
            engine.shutdown()


def migrate(context: typer.Context, as_json: Json = False) -> None:
    """Bring the database to this release's schema. `up` does this by itself.

    Example: federation-hub migrate
    """
    session: Session = context.obj
    with session.services():
        show({"migrated": True}, as_json=as_json, text="The database is up to date.")


def _run(
    session: Session, host: str, port: int, ready_file: Path | None, *, log_json: bool, verbose: bool, engine: bool
) -> None:
    from federation_hub.app import create_app
    from federation_hub.server import serve
    from federation_hub.sweeper import Sweeper

    configure_logging(as_json=log_json, verbose=verbose)
    with ExitStack() as stack:
        if engine:
            stack.enter_context(session.alone())
        services = stack.enter_context(session.services())
        if engine:
            from federation_hub.engine.engine import Engine

            studies = Engine(session.config)
            services = replace(services, engine=studies)
            studies.launch(services)
            stack.callback(studies.shutdown)
        sweeper = Sweeper(services)
        sweeper.start()
        stack.callback(sweeper.stop)
        app = create_app(session.config, services=services)
        try:
            serve(app, session.config, host=host, port=port, ready_file=ready_file, announce=_announcer(session))
        except OSError as error:
            raise ConfigError("config-invalid", f"cannot listen on {host}:{port} ({error.strerror})") from error


def _announcer(session: Session) -> Callable[[str], None]:
    def announce(url: str) -> None:
        typer.echo(f"The hub is up at {url}\nThe admin's token is in {session.config.admin_token_path}")

    return announce
