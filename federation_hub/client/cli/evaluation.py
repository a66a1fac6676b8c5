"""``medsilo evaluation``: what hospitals were asked, and results that should not stand."""

from typing import Annotated, get_args

import typer

from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.hub import Record
from federation_hub.client.terminal import output, print_json, print_table
from federation_hub.evaluations.messages import DisputeReason
from silo_node.wire.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="List evaluations; dispute results and settle disputes.")

REASONS = get_args(DisputeReason)
EvaluationId = Annotated[str, typer.Argument(help="Id of the evaluation, such as eval-7h2j5k8m.")]
Reason = Annotated[str, typer.Option(help=f"Why: {', '.join(REASONS)}.")]


@app.command(name="list")
def list_evaluations(
    context: typer.Context,
    benchmark: Annotated[str | None, typer.Option(help="Only evaluations of this benchmark.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the evaluations of your models, or of your benchmarks, newest first.

    Example: `medsilo evaluation list --benchmark chest_phantom`
    """
    found = session(context).connect().evaluations(benchmark)
    if as_json:
        print_json(found)
        return
    columns = ["evaluation", "benchmark", "models", "attempt", "state", "result", "why"]
    print_table(columns, [_row(entry) for entry in found])


@app.command()
def dispute(context: typer.Context, evaluation: EvaluationId, reason: Reason, as_json: AsJson = False) -> None:
    """Dispute a hospital's result. It leaves the board until the benchmark's owner has decided.

    The hospital itself may, the owner of a model in it, and the benchmark's owner.

    Example: `medsilo evaluation dispute eval-7h2j5k8m --reason labels-wrong`
    """
    _tell(session(context).connect().dispute(evaluation, _known(reason)), as_json=as_json)


@app.command()
def settle(
    context: typer.Context,
    evaluation: EvaluationId,
    uphold: Annotated[bool, typer.Option("--uphold/--withdraw", help="Let the result stand again, or not.")],
    reason: Annotated[str | None, typer.Option(help="Why it is withdrawn, if not for the disputer's reason.")] = None,
    because: Annotated[
        str | None, typer.Option(help="Why, in words, for those the result concerns; --uphold needs it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide about a disputed result of your benchmark. Whoever disputed it cannot uphold it.

    Example: `medsilo evaluation settle eval-7h2j5k8m --uphold --because "the labels were read again"`
    """
    if uphold and not because:
        raise BadInput("config-invalid", "--uphold needs --because, which says why the result stands")
    hub, code = session(context).connect(), _known(reason) if reason else None
    found = hub.settle(evaluation, uphold=uphold, reason=code, because=because)
    _tell(found, as_json=as_json)


def _known(reason: str) -> str:
    if reason not in REASONS:
        raise BadInput("config-invalid", f"--reason is one of {', '.join(REASONS)}")
    return reason


def _tell(result: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        why = f" ({result['reason']})" if result["reason"] else ""
        output().print(f"The result is {result['state']}{why}.", markup=False)


def _row(entry: Record) -> list[object]:
    result = entry["result"] or {}
    place = f"{entry['benchmark']}@{entry['benchmark_version']}"
    why = result.get("reason") or entry["code"] or entry["reason"]
    state = entry["state"] if entry["state"] != "open" else f"open, {entry['task_state']}"
    return [entry["evaluation_id"], place, len(entry["models"]), entry["attempt"], state, result.get("state"), why]
