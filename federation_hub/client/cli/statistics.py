"""``medsilo statistics`` and ``medsilo cohort``: what cohorts there are, before a study is planned."""

import time
from typing import Annotated, Any

import typer

from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.hub import Hub, Record
from federation_hub.client.terminal import output, print_json, print_table
from silo_node.wire.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="Ask silos how their patients divide, before a study is planned.")
cohort_app = typer.Typer(no_args_is_help=True, help="Find cohorts.")

Benchmark = Annotated[str, typer.Argument(help="The benchmark whose cohorts are asked about.")]
Where = Annotated[
    list[str] | None,
    typer.Option(help="Only patients with these values: attribute=value,value. Several attributes: several times."),
]
Wait = Annotated[float, typer.Option(min=0, help="Wait so many seconds for the silos to answer.")]


@app.command("ask")
def ask(
    context: typer.Context,
    benchmark: Benchmark,
    attribute: Annotated[str, typer.Option(help="Divide by: age_band, body_part, field_strength, maker, sex, ...")],
    where: Where = None,
    epsilon: Annotated[float | None, typer.Option(help="Counts with noise that cost each patient this much.")] = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Ask every silo with a cohort for a benchmark how its patients divide by an attribute.

    Small counts are withheld, with what would give them back; others are rounded to five. Each silo's policy decides,
    and a person there may.

    Example: `medsilo statistics ask chest_phantom --attribute sex --where maker=ge,siemens --wait 60`
    """
    question = {"attribute": attribute, "where": _conditions(where), "epsilon": epsilon}
    hub = session(context).connect()
    _show(_waited(hub, hub.ask_statistics(benchmark, question), wait), as_json=as_json)


@app.command("show")
def show(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="Id of the question, query-...")],
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Show what the answers to a question come to so far.

    Example: `medsilo statistics show query-3k9f0q2m1x7c`
    """
    hub = session(context).connect()
    _show(_waited(hub, hub.statistics(query), wait), as_json=as_json)


@cohort_app.command("find")
def find(
    context: typer.Context, benchmark: Benchmark, where: Where = None, wait: Wait = 0.0, as_json: AsJson = False
) -> None:
    """Ask every silo in which band its number of patients lies, under some conditions.

    The lowest band also stands for none at all, and for a number that must not be told.

    Example: `medsilo cohort find chest_phantom --where sex=f --where age_band=40-44,45-49 --wait 60`
    """
    hub = session(context).connect()
    found = hub.ask_statistics(benchmark, {"attribute": None, "where": _conditions(where), "epsilon": None})
    _show(_waited(hub, found, wait), as_json=as_json)


def _conditions(where: list[str] | None) -> list[dict[str, Any]]:
    found = []
    for text in where or ():
        attribute, equals, levels = text.partition("=")
        if not equals or not levels:
            raise BadInput("malformed-message", f"{text!r} is not attribute=value,value")
        found.append({"attribute": attribute, "levels": levels.split(",")})
    return found


def _waited(hub: Hub, found: Record, seconds: float) -> Record:
    end = time.monotonic() + seconds
    while found["answered"] + found["declined"] < found["asked"] and time.monotonic() < end:
        time.sleep(min(1.0, max(end - time.monotonic(), 0.0)))
        found = hub.statistics(found["query_id"])
    return found


def _show(found: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    counts = f"{found['answered']} of {found['asked']} silos have answered, {found['declined']} declined"
    output().print(f"{found['query_id']}: {counts}.")
    if found["bands"]:
        print_table(["patients", "silos"], [[band, count] for band, count in found["bands"].items()])
    if found["cells"]:
        print_table(["value", "patients", "silos"], [[c["level"], c["patients"], c["silos"]] for c in found["cells"]])
    if found["withheld"]:
        output().print(f"{found['withheld']} cells were withheld by silos.")
    if found["mean"] is not None:
        output().print(f"Mean {found['mean']}, median {found['median']}, quartiles {' and '.join(found['quartiles'])}.")
