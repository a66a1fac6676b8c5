"""``silo-node``: the command of a hospital's IT."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from silo_node import __version__
from silo_node.cli import answer, benchmark, console, export, log, node, outbox, policy, privacy, software
from silo_node.cli.cohort import cohort_app
from silo_node.cli.intake import intake_app
from silo_node.cli.session import Session, warn
from silo_node.presentation import EXIT_INTERRUPTED, error_text, exit_status
from silo_node.state import ENVIRONMENT, Home, default_home
from silo_node.wire.errors import MedSiloError

app = typer.Typer(
    name="silo-node",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="enrol")(node.enrol)
app.command(name="unenrol")(node.unenrol)
app.command(name="rotate-key")(node.rotate_key)
app.command(name="start")(node.start)
app.command(name="status")(node.status)
app.command(name="doctor")(node.doctor)
app.command(name="bugreport")(node.bugreport)
app.command(name="upgrade")(node.upgrade)
app.command(name="sbom")(software.sbom)
app.command(name="console")(console.console)
app.add_typer(intake_app, name="intake")
app.add_typer(cohort_app, name="cohort")
app.add_typer(export.app, name="export")
app.add_typer(answer.app, name="answer")
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(policy.app, name="policy")
app.add_typer(privacy.app, name="privacy")
app.add_typer(outbox.app, name="outbox")
app.add_typer(log.app, name="log")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"silo-node {__version__}")
        raise typer.Exit


@app.callback()
def silo_node(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="The folder of all this node's state.", envvar=ENVIRONMENT)] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take part in a federation without letting images out: evaluate and train models here, send aggregates only.

    Example: silo-node enrol --hub https://hub.example.org --code ABCD-EFGH-2345-6789

    Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 hub not reachable, 4 no sandbox, 130 interrupted.
    """
    session = Session(Home(home.expanduser().resolve()) if home is not None else default_home())
    context.obj = session
    _warn_without_sandbox(session)


def _warn_without_sandbox(session: Session) -> None:
    """Say on every command that tasks run without a sandbox, where somebody has set it so."""
    try:
        unsafe = session.config.development_no_sandbox
    except MedSiloError:
        return  # the command that needs the configuration says what is wrong with it
    if unsafe:
        from silo_node.sandbox.unjailed import WARNING

        warn(WARNING)


def main() -> None:
    """Run the command; a coded error ends it with its own message and exit status."""
    try:
        app()
    except MedSiloError as error:
        sys.stderr.write(error_text(error, as_json="--json" in sys.argv) + "\n")
        sys.exit(exit_status(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
