"""``medsilo benchmark``: the questions a hub asks of models."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from benchmarks.definition import check_definition, load_definition
from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.starting_point import write_benchmark
from federation_hub.client.terminal import EXIT_REFUSED, output, print_facts, print_json, print_table
from federation_hub.evaluations.messages import RetryReason
from silo_node.wire.canonical import message_digest
from silo_node.wire.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="List, show, check and publish benchmarks, and look after them.")

RETRY_REASONS = get_args(RetryReason)
BenchmarkName = Annotated[str, typer.Argument(help="Name of the benchmark.")]
OtherVersion = Annotated[int | None, typer.Option(help="Another version than the newest.")]


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
    name: BenchmarkName,
    version: OtherVersion = None,
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
def new(
    name: Annotated[str, typer.Argument(help="A lower-case name for the benchmark; its folder is made here.")],
    source: Annotated[str, typer.Option("--from", help="The benchmark whose definition to begin with.")],
    as_json: AsJson = False,
) -> None:
    """Write a benchmark's folder to begin with: its definition, a README and the reference network.

    Example: `medsilo benchmark new lung_opacity --from chest_phantom`
    """
    folder = write_benchmark(Path(name), source)
    if as_json:
        print_json({"folder": str(folder)})
    else:
        output().print(f"Wrote {folder}. Next: change it, then medsilo benchmark check {folder}", soft_wrap=True)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A benchmark.toml, or the folder it lies in.")],
    as_json: AsJson = False,
) -> None:
    """Check a benchmark definition before publishing it: every fault at once, with its line. Works without a hub.

    Exit status 1 where there is one.

    Example: `medsilo benchmark check benchmarks/chest_phantom/benchmark.toml`
    """
    definition, findings = check_definition(file)
    if as_json:
        faults = [asdict(finding) for finding in findings]
        named = {"name": definition.name, "version": definition.version} if definition else {}
        print_json(named | ({"digest": message_digest(definition)} if definition else {}) | {"faults": faults})
    elif definition is not None:
        output().print(f"{file} is a valid definition of {definition.name} version {definition.version}.")
        output().print(f"Digest {message_digest(definition)}", soft_wrap=True)
    else:
        rows = [[finding.line, finding.key, finding.words, finding.code] for finding in findings]
        print_table(["line", "key", "what is wrong", "code"], rows, title=f"{file}: {len(rows)} fault(s)")
    if definition is None:
        raise typer.Exit(EXIT_REFUSED)


@app.command()
def publish(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A benchmark.toml, or the folder it lies in.")],
    as_json: AsJson = False,
) -> None:
    """Publish a benchmark version, for ever as it is. To change anything, publish the next version.

    Example: `medsilo benchmark publish lung_opacity`
    """
    definition = load_definition(file)
    found = session(context).connect().publish_benchmark(definition)
    if as_json:
        print_json(found)
    else:
        output().print(f"{definition.name} version {definition.version} is {found['state']}.")
        output().print(f"Digest {found['digest']}", soft_wrap=True)


@app.command()
def matrix(context: typer.Context, name: BenchmarkName, version: OtherVersion = None, as_json: AsJson = False) -> None:
    """Show where every model stands at every site, and why a cell is empty. For the benchmark's owner.

    Example: `medsilo benchmark matrix chest_phantom`
    """
    found = session(context).connect().matrix(name, version)
    if as_json:
        print_json(found)
        return
    columns = ["model", *(site["label"] for site in found["sites"])]
    rows = [[row["name"], *(_cell(cell) for cell in row["cells"])] for row in found["models"]]
    print_table(columns, rows, title=f"{name} version {found['benchmark_version']}")
    for site in found["sites"]:
        output().print(f"{site['label']} is {site['silo_id']}", markup=False)


@app.command()
def retry(
    context: typer.Context,
    name: BenchmarkName,
    silo: Annotated[str | None, typer.Option(help="Id of the one silo to ask; by default all of them.")] = None,
    reason: Annotated[str | None, typer.Option(help=f"Why: {', '.join(RETRY_REASONS)}.")] = None,
    version: OtherVersion = None,
    as_json: AsJson = False,
) -> None:
    """Ask hospitals again, also those that declined; a visible further attempt. For the benchmark's owner.

    Example: `medsilo benchmark retry chest_phantom --silo silo-3k9f0q2m1x7c --reason software-fault`
    """
    if reason is not None and reason not in RETRY_REASONS:
        raise BadInput("config-invalid", f"--reason is one of {', '.join(RETRY_REASONS)}")
    made = session(context).connect().evaluate_again(name, version, silo_id=silo, reason=reason)
    if as_json:
        print_json(made)
    else:
        output().print(f"Asked {len(made)} hospital(s)." if made else "Nobody to ask: all are asked already.")


@app.command(name="set")
def set_entry(
    context: typer.Context,
    name: BenchmarkName,
    model: Annotated[str, typer.Argument(help="Digest of the model, blake3:...")],
    priority: Annotated[
        int | None, typer.Option(help="Where a report cannot hold all models, higher ones go first.")
    ] = None,
    baseline: Annotated[bool | None, typer.Option("--baseline/--no-baseline", help="Mark it as a baseline.")] = None,
    version: OtherVersion = None,
    as_json: AsJson = False,
) -> None:
    """Set an entry's priority, or whether it is a baseline. For the benchmark's owner.

    Example: `medsilo benchmark set chest_phantom blake3:... --priority 10`
    """
    hub = session(context).connect()
    chosen = version or int(hub.benchmark(name)["definition"]["version"])
    found = hub.set_entry(model, name, chosen, priority=priority, baseline=baseline)
    if as_json:
        print_json(found)
    else:
        output().print(f"Priority {found['priority']}, baseline: {_baseline(found['baseline'])}.")


def _baseline(said: bool | None) -> str:
    return {None: "as its card says", True: "yes", False: "no"}[said]


def _cell(cell: dict[str, Any]) -> str:
    counts = f" {cell['done'] / cell['total']:.0%}" if cell["state"] == "running" and cell["total"] else ""
    return f"{cell['state']}{counts}" + (f": {cell['code']}" if cell["code"] else "")


def _facts(definition: dict[str, Any], digest: str) -> dict[str, Any]:
    shape = " x ".join(str(size) for size in definition["input"]["shape"])
    metrics = [metric["name"] + (" (ranks)" if metric["primary"] else "") for metric in definition["metrics"]]
    limits = definition["disclosure"]
    told = f"classes of {limits['minimum_class']} cases, cells of {limits['minimum_cell']}"
    facts = {
        "task": f"{definition['task']} of {', '.join(definition['labels'])}",
        "data": f"{definition['modality']}, {definition['provenance']}: {definition['data_source']}",
        "licence": definition["licence"],
        "input": f"{definition['input']['channels']} channel(s), {shape}",
        "preparation": ", ".join(step["name"] for step in definition["preparation"]),
        "metrics": ", ".join(metrics),
        "limits": f"{told}, {limits['minimum_sites']} sites",
    }
    facts |= {f"phase {phase['name']}": _phase(phase) for phase in definition.get("phases", ())}
    return facts | {"digest": digest}


def _phase(phase: dict[str, Any]) -> str:
    words = [f"from {phase['opens']}" + (f" to {phase['closes']}" if phase["closes"] else "")]
    words += [f"after {phase['parent']}"] if phase["parent"] else []
    words += [f"{name.replace('_', ' ')}: {count}" for name, count in phase["submissions"].items() if count]
    return ", ".join([*words, *([f"ladder step {phase['ladder']}"] if phase["ladder"] else [])])
