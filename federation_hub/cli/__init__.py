"""``federation-hub``: the operator's command."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from federation_hub.cli import administration, backups, people, publishing, reference, running, trail
from federation_hub.cli.session import Session, fail
from federation_hub.config import HOME_VARIABLE, default_home
from silo_node import __version__
from silo_node.wire.errors import MedSiloError

app = typer.Typer(
    name="federation-hub",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="up")(running.up)
app.command(name="web")(running.web)
app.command(name="worker")(running.worker)
app.command(name="migrate")(running.migrate)
app.command(name="openapi")(reference.openapi)
app.command(name="export-static")(publishing.export_static)
app.command(name="backup")(backups.backup)
app.command(name="restore")(backups.restore)
app.command(name="audit")(trail.audit)
app.add_typer(people.person, name="person")
app.add_typer(people.organisation, name="organisation")
app.add_typer(administration.silo, name="silo")
app.add_typer(administration.benchmark, name="benchmark")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"federation-hub {__version__}")
        raise typer.Exit


@app.callback()
def federation_hub(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="The folder of all the hub's state.", envvar=HOME_VARIABLE)] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Run the hub of a federation: it hands out work, aggregates models and publishes leaderboards.

    Example: federation-hub --home ./hub up

    Exit status: 0 done, 1 refused or failed, 2 wrong usage.
    """
    context.obj = Session(home or default_home())


def main() -> None:
    """Run the command; a coded error ends it with its own message and status 1."""
    try:
        app()
    except MedSiloError as error:
        fail(error, as_json="--json" in sys.argv)
