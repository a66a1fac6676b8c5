"""``silo-node benchmark``: what the hub asks, and what this site takes part in."""

from typing import Annotated

import typer

from silo_node.cli.session import Json, session_of, show, table

app = typer.Typer(no_args_is_help=True, help="See the hub's benchmarks, and say which this site takes part in.")
BenchmarkName = Annotated[str, typer.Argument(help="A benchmark's name, from `benchmark list`.")]


@app.command("list")
def list_benchmarks(context: typer.Context, as_json: Json = False) -> None:
    """List the hub's benchmarks.

    Example: silo-node benchmark list
    """
    from silo_node.policy import load_policy

    session = session_of(context)
    with session.hub() as hub:
        found = hub.benchmarks()
    joined = load_policy(session.home).benchmarks.allow
    rows = [(line.name, line.version, line.state, "yes" if line.name in joined else "no", line.title) for line in found]
    values = [line.model_dump() | {"joined": line.name in joined} for line in found]
    show(values, as_json=as_json, text=table(["benchmark", "version", "state", "joined", "question"], rows))


@app.command("join")
def join_benchmark(
    context: typer.Context,
    name: BenchmarkName,
    version: Annotated[int | None, typer.Option(help="Its version; the newest when not given.")] = None,
    as_json: Json = False,
) -> None:
    """Take part in a benchmark: keep its definition, and let the policy allow its evaluations.

    Example: silo-node benchmark join chest_phantom
    """
    from silo_node.benchmarks import fetch_benchmark
    from silo_node.policy import allow_benchmark
    from silo_node.wire.errors import BadInput

    session = session_of(context)
    with session.hub() as hub:
        if version is None:
            version = next((line.version for line in hub.benchmarks() if line.name == name), None)
        if version is None:
            raise BadInput("benchmark-unknown", name)
        definition = fetch_benchmark(session.home, hub, name, version)
    allow_benchmark(session.home, name)
    limits = definition.disclosure
    text = (
        f"{definition.title}\n{definition.summary}\n\n"
        f"{name} {version} is in benchmarks.allow of policy.toml. What may be told of this site's cases: estimates "
        f"with their uncertainty, no class under {limits.minimum_class} patients, no count under "
        f"{limits.minimum_cell}, {limits.decimals} decimals."
    )
    show({"benchmark": name, "version": version, "joined": True}, as_json=as_json, text=text)


@app.command("leave")
def leave_benchmark(context: typer.Context, name: BenchmarkName, as_json: Json = False) -> None:
    """Take part no more: from the next decision on, its evaluations and studies are refused.

    Example: silo-node benchmark leave chest_phantom
    """
    from silo_node.policy import drop_benchmark

    drop_benchmark(session_of(context).home, name)
    text = f"{name} is no longer in benchmarks.allow of policy.toml."
    show({"benchmark": name, "joined": False}, as_json=as_json, text=text)
