"""``medsilo benchmark``: the questions a hub asks of models."""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.definition import load_definition
from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.terminal import output, print_facts, print_json, print_table
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import message_digest

app = typer.Typer(no_args_is_help=True, help="List, show and check benchmarks.")


@app.command(name="list")
def list_benchmarks(context: typer.Context, as_json: AsJson = False) -> None:
    """List the hub's benchmarks, the newest version of each. Needs no token.

    Example: `medsilo benchmark list`
    """
    found = session(context).connect(signed_in=False).benchmarks()
    if as_json:
        print_json(found)
        return
    columns = ["name", "version", "task", "modality", "provenance", "title"]
    print_table(columns, [[entry[column] for column in columns] for entry in found])


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    version: Annotated[int | None, typer.Option(help="Another version than the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a benchmark's definition. Needs no token.

    Example: `medsilo benchmark show chest_phantom`
    """
    found = session(context).connect(signed_in=False).benchmark(name, version)
    if as_json:
        print_json(found)
        return
    definition: dict[str, Any] = found["definition"]
    output().print(f"[bold]{definition['title']}[/]  {name} version {definition['version']}, {found['state']}")
    output().print(definition["summary"] + "\n", markup=False)
    print_facts(_facts(definition, found["digest"]))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A benchmark.toml.")],
    as_json: AsJson = False,
) -> None:
    """Check a benchmark definition before publishing it. Works without a hub.

    Example: `medsilo benchmark check benchmarks/chest_phantom/benchmark.toml`
    """
    definition: BenchmarkDefinition = load_definition(file)
    digest = message_digest(definition)
    if as_json:
        print_json({"name": definition.name, "version": definition.version, "digest": digest})
    else:
        output().print(f"{file} is a valid definition of {definition.name} version {definition.version}.")
        output().print(f"Digest {digest}", soft_wrap=True)


def _facts(definition: dict[str, Any], digest: str) -> dict[str, Any]:
    shape = " x ".join(str(size) for size in definition["input"]["shape"])
    metrics = [metric["name"] + (" (ranks)" if metric["primary"] else "") for metric in definition["metrics"]]
    limits = definition["disclosure"]
    told = f"classes of {limits['minimum_class']} cases, cells of {limits['minimum_cell']}"
    return {
        "task": f"{definition['task']} of {', '.join(definition['labels'])}",
        "data": f"{definition['modality']}, {definition['provenance']}: {definition['data_source']}",
        "licence": definition["licence"],
        "input": f"{definition['input']['channels']} channel(s), {shape}",
        "preparation": ", ".join(step["name"] for step in definition["preparation"]),
        "metrics": ", ".join(metrics),
        "limits": f"{told}, {limits['minimum_sites']} sites",
        "digest": digest,
    }
