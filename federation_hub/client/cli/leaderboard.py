"""``medsilo leaderboard``: a benchmark's leaderboard on the terminal, and whether it is what its inputs give."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.tables import Row, leaderboard_rows
from federation_hub.client.terminal import output, print_json, print_table
from silo_node.web.formats import PROVENANCE_NOTICES
from silo_node.wire.errors import IntegrityError


class ShownByDefault(TyperGroup):
    """``medsilo leaderboard NAME`` is ``medsilo leaderboard show NAME``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=ShownByDefault, no_args_is_help=True, help="Leaderboards: show one, or check it. Needs no token.")
Folder = Annotated[
    Path | None, typer.Option(help="Read both from a site that federation-hub export-static wrote; no hub is asked.")
]


@app.command("show")
def show(
    context: typer.Context,
    benchmark: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    version: Annotated[int | None, typer.Option(help="Another version than the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a leaderboard: rank ranges, estimates with 95% intervals, worst sites. The word `show` may be left out.

    Example: `medsilo leaderboard show chest_phantom`
    """
    hub = session(context).connect(signed_in=False)
    found = hub.leaderboard(benchmark, version=version)
    if as_json:
        print_json(found)
        return
    print_board(found, hub.benchmark(benchmark, version))
    output().print(f"{hub.url}/benchmarks/{benchmark}", soft_wrap=True)


@app.command("recompute")
def recompute(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(help="Digest of the snapshot, as its page shows it.")],
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Compute a leaderboard anew from its published inputs and compare it byte for byte.

    Needs the versions of numpy and scipy that the snapshot names. Where a hospital keeps its results to itself the
    inputs are for the benchmark's owner alone.

    Example: `medsilo leaderboard recompute blake3:1f...`
    """
    # Loading scipy takes longer than any other command.
    from federation_hub.client.recompute import from_folder, recompute, versions_here

    if folder is None:
        hub = session(context).connect(signed_in=False)
        body, inputs = hub.snapshot(snapshot), hub.snapshot_inputs(snapshot)
    else:
        body, inputs = from_folder(folder, snapshot)
    found = recompute(body, inputs, digest=snapshot)
    if not found.same:
        parts = ", ".join(found.differences)
        raise IntegrityError(
            "snapshot-differs", f"{parts}; published with {found.published_with}, {versions_here()} here"
        )
    if as_json:
        print_json(asdict(found))
        return
    output().print(f"The very same bytes, from {found.blocks} signed blocks: {snapshot}", soft_wrap=True)


def print_board(found: dict[str, Any], benchmark: dict[str, Any]) -> None:
    """Print a leaderboard snapshot as a table; first what is behind it where that is no clinical data."""
    if notice := PROVENANCE_NOTICES.get(benchmark["definition"]["provenance"]):
        output().print(f"[bold]{notice[0]}[/] {notice[1]}", soft_wrap=True)
    if benchmark["board_awaited"]:
        output().print("[bold]New results are in.[/] The board is being computed with them; look again in a moment.")
    rows = leaderboard_rows(found)
    metric = found["metric"]
    better = "higher" if metric["direction"] == "higher" else "lower"
    title = f"{metric['name']} of {metric['label']}, {better} is better; 95% intervals"
    columns = ["rank", "model", metric["name"], "interval", "worst site", "sites", "cases"]
    print_table(columns, [_cells(row) for row in rows], title=title)


def _cells(row: Row) -> list[Any]:
    return [
        row["rank"],
        row["model"],
        _number(row["estimate"]) or row["status"],
        _interval(row["low"], row["high"]),
        _number(row["worst_estimate"]),
        row["sites"],
        row["cases"],
    ]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.3f} to {high:.3f}"
