"""``medsilo study``: federated training."""

import re
from pathlib import Path
from typing import Annotated

import typer

from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.hub import Hub, Record
from federation_hub.client.plans import plan_text, read_plan, resolve_plan
from federation_hub.client.studies import (
    create_study,
    print_report,
    print_study,
    study_report,
    wait_for_consents,
    watch_study,
)
from federation_hub.client.terminal import EXIT_REFUSED, messages, output, print_json
from silo_node.wire.canonical import message_digest
from silo_node.wire.claims import claim_sheet
from silo_node.wire.errors import BadInput
from silo_node.wire.protection import what_protects_what

app = typer.Typer(no_args_is_help=True, help="Plan, start and follow federated studies.")

_STUDY_ID = re.compile(r"study-[0-9a-z]{6,32}")
PlanPath = Annotated[Path, typer.Argument(help="A plan.toml.")]
StudyId = Annotated[str, typer.Argument(help="Id of the study, such as study-7h2j5k8m.")]


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A lower-case name for the study.")],
    benchmark: Annotated[str, typer.Option(help="The benchmark whose cohorts are trained on.")],
    model: Annotated[str, typer.Option(help="Digest of the accepted model to start from.")],
    silo: Annotated[
        list[str] | None, typer.Option(help="A silo to ask; give it several times. By default every active silo.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 3,
    out: Annotated[Path, typer.Option(help="The plan file to write.")] = Path("plan.toml"),
    as_json: AsJson = False,
) -> None:
    """Write a plan file to read, change and check. Nothing is sent.

    Example: `medsilo study new first_study --benchmark chest_phantom --model blake3:... --rounds 5`
    """
    if out.exists():
        raise BadInput("already-exists", str(out))
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,39}", name):
        raise BadInput("plan-invalid", "a study's name has 2 to 40 lower-case letters, digits and underscores")
    silos = silo or _active_silos(context)
    out.write_text(plan_text(name=name, benchmark=benchmark, model=model, silos=silos, rounds=rounds), "utf-8")
    if as_json:
        print_json({"plan": str(out), "silos": silos})
    else:
        output().print(f"Wrote {out}. Next: medsilo study check {out}", soft_wrap=True)


@app.command()
def check(context: typer.Context, plan: PlanPath, as_json: AsJson = False) -> None:
    """Check a plan against the hub, and say what protects what in such a study.

    Benchmark, model and silos must exist, the numbers fit together, and the rules hold with so few sites.

    Example: `medsilo study check plan.toml`
    """
    exact = resolve_plan(read_plan(plan), session(context).connect())
    if as_json:
        print_json(exact.model_dump(mode="json"))
        return
    output().print(
        f"{exact.name}: {exact.rounds} rounds over {len(exact.silos)} silos, at least {exact.quorum} updates a round."
    )
    output().print(f"Plan digest {message_digest(exact)}", soft_wrap=True)
    for entry in what_protects_what(exact):
        output().print(f"\n{entry.question}", style="bold")
        for answer in entry.answers:
            output().print(f"- {answer}", markup=False)


@app.command()
def privacy(
    context: typer.Context,
    plan: Annotated[str, typer.Argument(help="A plan.toml, or the id of a study.")],
    as_json: AsJson = False,
) -> None:
    """Print the claim sheet of a study: what its differential privacy is worth, in the terms of NIST SP 800-226.

    Example: `medsilo study privacy plan.toml`
    """
    hub = session(context).connect()
    if _STUDY_ID.fullmatch(plan):
        sheet = hub.study_privacy(plan)
    else:
        sheet = claim_sheet(resolve_plan(read_plan(Path(plan)), hub)).model_dump(mode="json")
    if as_json:
        print_json(sheet)
        return
    for claim in sheet["claims"]:
        output().print(f"\n{claim['term']}", style="bold")
        output().print(claim["statement"], markup=False)
    output().print("\nNot covered", style="bold")
    for sentence in sheet["not_covered"]:
        output().print(f"- {sentence}", markup=False)


@app.command()
def start(
    context: typer.Context,
    plan: Annotated[str, typer.Argument(help="A plan.toml, or the id of a study that waits for its start.")],
    watch: Annotated[bool, typer.Option("--watch", help="Follow the study until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a study from a plan, wait for its silos' consent, and start it.

    With `baseline = "fedavg"` in the plan a second one by plain federated averaging is created and started with it.
    Interrupting the wait leaves the study as it is; start it later by its id.

    Example: `medsilo study start plan.toml --watch`
    """
    hub = session(context).connect()
    study_id, *others = [plan] if _STUDY_ID.fullmatch(plan) else _create(hub, Path(plan))
    for other in (study_id, *others):
        wait_for_consents(hub, other)
        hub.start_study(other)
    study = hub.study(study_id)
    if watch:
        study = watch_study(hub, study_id)
    _show(study, as_json=as_json)


@app.command()
def watch(context: typer.Context, study_id: StudyId, as_json: AsJson = False) -> None:
    """Follow a study until it ends. Exit status 0 where it completed.

    Example: `medsilo study watch study-7h2j5k8m`
    """
    study = watch_study(session(context).connect(), study_id)
    _show(study, as_json=as_json)
    if study["state"] != "completed":
        raise typer.Exit(EXIT_REFUSED)


@app.command()
def pause(context: typer.Context, study_id: StudyId, as_json: AsJson = False) -> None:
    """Pause a study after its present round.

    Example: `medsilo study pause study-7h2j5k8m`
    """
    _show(session(context).connect().pause_study(study_id), as_json=as_json)


@app.command()
def resume(context: typer.Context, study_id: StudyId, as_json: AsJson = False) -> None:
    """Let a paused study go on.

    Example: `medsilo study resume study-7h2j5k8m`
    """
    _show(session(context).connect().resume_study(study_id), as_json=as_json)


@app.command()
def stop(context: typer.Context, study_id: StudyId, as_json: AsJson = False) -> None:
    """Stop a study for good. Rounds that were committed stay on record.

    Example: `medsilo study stop study-7h2j5k8m`
    """
    _show(session(context).connect().stop_study(study_id), as_json=as_json)


@app.command()
def show(context: typer.Context, study_id: StudyId, as_json: AsJson = False) -> None:
    """Show a study with its rounds and updates.

    Example: `medsilo study show study-7h2j5k8m`
    """
    _show(session(context).connect().study(study_id), as_json=as_json)


@app.command()
def report(context: typer.Context, study_id: StudyId, as_json: AsJson = False) -> None:
    """Show what each site gets of a study: the global model, its personal one, what it reaches alone, and the baseline.

    Example: `medsilo study report study-7h2j5k8m`
    """
    hub = session(context).connect()
    study = hub.study(study_id)
    baseline = hub.study(study["plan"]["baseline"]) if study["plan"]["baseline"] else None
    if as_json:
        print_json(study_report(study) | {"baseline": study_report(baseline) if baseline else None})
    else:
        print_report(study, baseline)


def _create(hub: Hub, plan: Path) -> list[str]:
    study_id, *baseline = create_study(hub, read_plan(plan))
    beside = f", and {baseline[0]} to compare it with" if baseline else ""
    messages().print(f"Created {study_id}{beside}.", soft_wrap=True)
    return [study_id, *baseline]


def _active_silos(context: typer.Context) -> list[str]:
    return [silo["name"] for silo in session(context).connect().silos() if silo["state"] == "active"]


def _show(study: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(study)
    else:
        print_study(study)
