"""``medsilo``: the researcher's command."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from federation_hub.client.cli import (
    benchmark,
    demo,
    evaluation,
    leaderboard,
    login,
    model,
    private_model,
    simulate,
    statistics,
    study,
    token,
    verify,
)
from federation_hub.client.cli.session import Session
from federation_hub.client.terminal import EXIT_INTERRUPTED, exit_status, print_error
from silo_node import __version__
from silo_node.wire.errors import MedSiloError

app = typer.Typer(
    name="medsilo",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="login")(login.login)
app.command(name="demo")(demo.demo)
app.command(name="simulate")(simulate.simulate)
app.command(name="verify")(verify.verify)
app.add_typer(token.app, name="token")
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(leaderboard.app, name="leaderboard")
model.app.command(name="dp-ready")(private_model.dp_ready)
app.add_typer(model.app, name="model")
app.add_typer(evaluation.app, name="evaluation")
app.add_typer(study.app, name="study")
app.add_typer(statistics.app, name="statistics")
app.add_typer(statistics.cohort_app, name="cohort")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"medsilo {__version__}")
        raise typer.Exit


@app.callback()
def medsilo(
    context: typer.Context,
    hub: Annotated[str | None, typer.Option(help="Address of the hub.", envvar="MEDSILO_HUB")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds your token.", envvar="MEDSILO_TOKEN_FILE")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Submit models, run federated studies and read leaderboards of a MedSilo hub.

    Example: `medsilo --hub https://hub.example.org benchmark list`

    Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 hub not reachable, 4 not permitted, 130 interrupted.
    """
    context.obj = Session(hub=hub, token_file=token_file)


def main() -> None:
    """Run the command; a coded error ends it with its own message and exit status."""
    try:
        app()
    except MedSiloError as error:
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(exit_status(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
