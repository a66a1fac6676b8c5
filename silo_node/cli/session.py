"""What every command shares: the state folder, the ``--json`` option, and how results are shown.

Results go to standard output, everything else to standard error, so ``silo-node ... --json | jq`` reads exactly one
JSON document.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from silo_node.config import NodeConfig, load_config
from silo_node.state import Home, default_home

if TYPE_CHECKING:
    from silo_node.hub import Hub
    from silo_node.identity import Identity
    from silo_node.journal import Journal

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@dataclass
class Session:
    """One command's node: its state folder, and what is read from it when needed."""

    home: Home

    @cached_property
    def config(self) -> NodeConfig:
        """The settings; raises :class:`ConfigError`."""
        return load_config(self.home)

    @cached_property
    def identity(self) -> "Identity":
        """Who the node is; raises :class:`ConfigError` ``not-enrolled``."""
        from silo_node.identity import load_identity

        return load_identity(self.home)

    @contextmanager
    def hub(self) -> Iterator["Hub"]:
        """Open a connection to the hub this node is enrolled with."""
        from silo_node.identity import dial

        connection = dial(self.home, self.config, self.identity)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def journal(self) -> Iterator["Journal"]:
        """Open the journal of tasks and the outbox."""
        from silo_node.journal import Journal

        journal = Journal(self.home.create())
        try:
            yield journal
        finally:
            journal.close()


def session_of(context: typer.Context) -> Session:
    """Return the session of the running command."""
    found = context.find_object(Session)
    return found if found is not None else Session(default_home())


def show(value: Any, *, as_json: bool, text: str) -> None:
    """Print a result: one JSON document, or what a person wants to read."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
    else:
        typer.echo(text)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as aligned columns under a heading; an absent value shows as a dash."""
    lines = [[*columns], *([("–" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def warn(text: str) -> None:
    """Print a warning to standard error."""
    typer.secho(text, err=True, fg=typer.colors.YELLOW)
