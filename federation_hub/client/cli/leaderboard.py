"""``medsilo leaderboard``: a benchmark's leaderboard on the terminal."""

from typing import Annotated, Any

import typer

from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.tables import Row, leaderboard_rows
from federation_hub.client.terminal import output, print_json, print_table


def leaderboard(
    context: typer.Context,
    benchmark: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    version: Annotated[int | None, typer.Option(help="Another version than the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a leaderboard: rank ranges, estimates with 95% intervals, worst sites. Needs no token.

    Example: `medsilo leaderboard chest_phantom`
    """
    hub = session(context).connect(signed_in=False)
    found = hub.leaderboard(benchmark, version=version)
    if as_json:
        print_json(found)
        return
    print_board(found)
    output().print(f"{hub.url}/benchmarks/{benchmark}", soft_wrap=True)


def print_board(found: dict[str, Any]) -> None:
    """Print a leaderboard snapshot as a table."""
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
