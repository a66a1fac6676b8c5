"""``medsilo simulate``: a plan tried out in one process."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.definition import bundled, load_definition
from federation_hub.client.arrivals import Arrivals
from federation_hub.client.cli.session import AsJson
from federation_hub.client.hub import Record
from federation_hub.client.plans import PlanFile, exact_plan, read_plan
from federation_hub.client.terminal import output, print_json, print_table
from federation_hub.studies.fitting import require_fit
from pipelines.bundles import read_bundle, weights_file
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.canonical import message_digest
from silo_node.wire.digests import digest_file
from silo_node.wire.errors import BadInput
from silo_node.wire.masking import Member
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import StudyPlan

if TYPE_CHECKING:
    from federation_hub.client.baselines import SiteComparison
    from federation_hub.client.simulated_neighbours import MixedRound
    from federation_hub.client.simulation import SimulatedSite, Simulation

MANY = 500
_NO_KEY = "A" * 43 + "="
"""Nobody signs anything in one process."""


def simulate(
    plan: Annotated[Path, typer.Argument(help="A plan.toml; its silos are replaced by the simulated ones.")],
    bundle: Annotated[Path, typer.Option(help="The bundle of the plan's model.")],
    cohort: Annotated[Path, typer.Option(help="A prepared cohort whose patients are dealt over the sites.")],
    sites: Annotated[int, typer.Option(min=1, max=MANY, help="Number of sites.")] = 4,
    definition: Annotated[
        Path | None, typer.Option(help="The benchmark.toml, where the benchmark does not come with MedSilo.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the weights of the model a study would register.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also train each site alone, by plain averaging, and all cases pooled.")
    ] = False,
    pace: Annotated[
        list[float] | None,
        typer.Option(help="Seconds a site takes for its part, one a site, where the plan's schedule is buffered."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a study's plan in one process, without a hub and without any hospital.

    Rules, optimisers, gates, checks and local training are those of a real study.

    Example: `medsilo simulate plan.toml --bundle model.zip --cohort my_cohort --sites 6 --baselines`
    """
    from federation_hub.client.baselines import beside_alone, compare
    from federation_hub.client.simulated_neighbours import simulate_neighbours
    from federation_hub.client.simulated_sites import deal_cohort, open_sites
    from federation_hub.client.simulation import simulate as run

    question = _question(read_plan(plan), definition)
    exact = _exact(read_plan(plan), question, bundle, sites)
    exact = beside_alone(exact) if baselines else exact
    higher = question.primary.direction == "higher"
    words = question.model_dump(mode="json")
    with tempfile.TemporaryDirectory(prefix="medsilo-") as name:
        folder = Path(name)
        start = folder / "start.safetensors"
        weights_file(read_bundle(bundle), start)
        cohorts = deal_cohort(cohort, folder / "cohorts", exact.silos, exact.seed)
        if exact.decentralised is not None:
            rounds = simulate_neighbours(
                exact, exact.decentralised, start, open_sites(exact, words, bundle, cohorts, folder)
            )
            _tell_mixed(rounds, question.primary.name, as_json)
            return
        done = run(
            exact,
            start,
            open_sites(exact, words, bundle, cohorts, folder),
            folder,
            higher=higher,
            arrivals=_arrivals(exact, pace),
        )

        def opened(other: StudyPlan, name: str) -> Sequence["SimulatedSite"]:
            whole = [cohort] if len(other.silos) == 1 and len(exact.silos) > 1 else cohorts
            return open_sites(other, words, bundle, whole, folder / name)

        compared = compare(exact, done, start, opened, folder, higher=higher) if baselines else []
        if out is not None and done.final is not None:
            shutil.copyfile(done.final.path, out)
    if as_json:
        print_json(_record(done, compared))
        return
    _print(done, question.primary.name)
    if compared:
        columns = ["site", "global", "personal", "alone", "fedavg", "pooled"]
        cells = [[c.silo_id, c.shared, c.personal, c.alone, c.fedavg, c.pooled] for c in compared]
        print_table(columns, cells, title=f"{question.primary.name} at each site")


def _question(asked: PlanFile, definition: Path | None) -> BenchmarkDefinition:
    return load_definition(definition) if definition else bundled(asked.benchmark.partition("@")[0])


def _exact(asked: PlanFile, question: BenchmarkDefinition, bundle: Path, sites: int) -> StudyPlan:
    if not bundle.is_file():
        raise BadInput("file-missing", str(bundle))
    start = ModelReference(digest=digest_file(bundle), size=bundle.stat().st_size)
    if start.digest != asked.model:
        raise BadInput("plan-invalid", f"{bundle} is not the plan's model")
    reference = BenchmarkReference(name=question.name, version=question.version, digest=message_digest(question))
    silos = tuple(f"silo-{number:06}" for number in range(1, sites + 1))
    members = tuple(Member(silo_id=silo_id, public_key=_NO_KEY) for silo_id in silos)
    exact = exact_plan(asked, reference, start, silos, members)
    if (network := read_bundle(bundle).profile.network) is not None:
        require_fit(exact, network.name, dict(network.args))
    return exact


def _arrivals(plan: StudyPlan, pace: list[float] | None) -> Arrivals | None:
    if not pace:
        return None
    if len(pace) != len(plan.silos):
        raise BadInput("plan-invalid", f"{len(pace)} times for {len(plan.silos)} sites")
    return Arrivals.paced(dict(zip(plan.silos, pace, strict=True)), plan.quorum)


def _scores(done: "Simulation", made: int) -> dict[str, float | None]:
    """Return what the sites told of the model a round made; of one scored twice, what they told last."""
    for entry in reversed(done.rounds):
        if entry.base.made == made:
            return {silo: answer.value for silo, answer in entry.answers.items()}
    return {}


def _record(done: "Simulation", compared: Sequence["SiteComparison"]) -> Record:
    final = done.final.folded.digest if done.final and done.final.folded else None
    rounds = [
        {
            "round": model.made,
            "model": model.folded.digest if model.folded else None,
            "counted": model.counted,
            "scores": _scores(done, model.made),
            "rolled_back": model.made in done.rolled_back,
        }
        for model in done.committed
    ]
    record: Record = {"before": _scores(done, 0), "rounds": rounds, "final": final}
    record["final_round"], record["stopped_early"] = done.final.made if done.final else None, done.stopped_early
    return record | ({"sites": [asdict(site) for site in compared]} if compared else {})


def _print(done: "Simulation", metric: str) -> None:
    rows = [["start", len(done.rounds[0].answers), *_told(_scores(done, 0)), None]]
    for model in done.committed:
        note = "rolled back" if model.made in done.rolled_back else "registered" if model is done.final else None
        rows.append([model.made, model.counted, *_told(_scores(done, model.made)), note])
    print_table(["round", "sites", f"mean {metric}", "worst site", ""], rows)
    if done.stopped_early:
        output().print("The stop rule was met.")
    if done.final is not None and done.final.folded is not None:
        output().print(f"Model of round {done.final.made}: {done.final.folded.digest}", soft_wrap=True)


def _tell_mixed(rounds: Sequence["MixedRound"], metric: str, as_json: bool) -> None:
    """Tell a study without an aggregator: each site's own model, and how many neighbours it listened to."""
    if as_json:
        print_json({"rounds": [{"round": r.number, "scores": r.scores, "heard": r.heard} for r in rounds]})
        return
    rows = [[r.number, *_told(r.scores), min(r.heard.values()), max(r.heard.values())] for r in rounds]
    print_table(["round", f"mean {metric}", "worst site", "fewest heard", "most heard"], rows)


def _told(scores: dict[str, float | None]) -> list[str | None]:
    found = [score for score in scores.values() if score is not None]
    return [f"{sum(found) / len(found):.4f}", f"{min(found):.4f}"] if found else [None, None]
