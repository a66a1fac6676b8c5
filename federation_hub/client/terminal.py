"""What the ``medsilo`` command shows: results on standard output, everything else on standard error.

So ``medsilo ... --json | jq`` always reads exactly one JSON document.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from silo_node.wire.errors import HubUnavailable, MedSiloError

EXIT_REFUSED = 1
"""Something was refused or failed; the code says what."""

EXIT_USAGE = 2
"""An unknown command or option."""

EXIT_UNREACHABLE = 3
"""No hub answered: trying again later may help."""

EXIT_NOT_PERMITTED = 4
"""No valid token, or a role that may not do this."""

EXIT_INTERRUPTED = 130
"""Stopped by Ctrl-C."""


_WIDTH_OF_A_FILE = 200


def output() -> Console:
    """Return the console for results; where they go to a file or a pipe, lines are long enough not to be broken."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)


def messages() -> Console:
    """Return the console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDTH_OF_A_FILE)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    # At once, since a program that reads it may wait for it while this one goes on.
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_table(columns: list[str], rows: list[list[Any]], *, title: str | None = None) -> None:
    """Print rows as a table; an absent value shows as a dash, and a long one is folded, never cut."""
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("–" if cell is None else escape(str(cell)) for cell in row))
    output().print(table)


def print_facts(facts: dict[str, Any]) -> None:
    """Print names and values, one a line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, escape(str(value)))
    output().print(table)


def exit_status(error: MedSiloError) -> int:
    """Return the exit status an error ends a command with."""
    if isinstance(error, HubUnavailable):
        return EXIT_UNREACHABLE
    return EXIT_NOT_PERMITTED if error.status in (401, 403) else EXIT_REFUSED


def print_error(error: MedSiloError, *, as_json: bool) -> None:
    """Show an error with its code, what it is about, and what to do."""
    if as_json:
        problem = {"code": error.code, "title": error.title, "detail": error.detail, "hint": error.hint}
        sys.stderr.write(json.dumps(problem, ensure_ascii=False) + "\n")
        return
    console = messages()
    console.print(f"[bold red]{error.title}[/] \\[{error.code}]")
    if error.detail:
        console.print(error.detail, markup=False)
    console.print(f"[dim]Hint:[/] {error.hint}")


@contextmanager
def transfer_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for bytes on their way; yields the function to call with bytes done and bytes in all."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    quiet = not sys.stderr.isatty()
    with Progress(*columns, TimeRemainingColumn(), console=messages(), transient=True, disable=quiet) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def count_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for things that are counted; yields the function to call with how many are done, and of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    quiet = not sys.stderr.isatty()
    with Progress(*columns, TimeRemainingColumn(), console=messages(), transient=True, disable=quiet) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
