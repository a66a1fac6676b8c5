"""``medsilo simulate``: a plan tried out in one process."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.definition import bundled, load_definition
from federation_hub.client.cli.session import AsJson
from federation_hub.client.hub import Record
from federation_hub.client.plans import exact_plan, read_plan
from federation_hub.client.terminal import output, print_json, print_table
from pipelines.bundles import read_bundle, weights_file
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.canonical import message_digest
from silo_node.wire.digests import digest_file
from silo_node.wire.errors import BadInput
from silo_node.wire.masking import Member
from silo_node.wire.models import ModelReference

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
    out: Annotated[Path | None, typer.Option(help="Where to write the last global model's weights.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a study's plan in one process, without a hub and without any hospital.

    Rules, optimisers, checks and local training are those of a real study.

    Example: `medsilo simulate plan.toml --bundle model.zip --cohort my_cohort --sites 6`
    """
    from federation_hub.client.simulated_sites import deal_cohort, open_sites
    from federation_hub.client.simulation import simulate as run

    asked = read_plan(plan)
    question = load_definition(definition) if definition else bundled(asked.benchmark.partition("@")[0])
    start = ModelReference(digest=digest_file(bundle), size=bundle.stat().st_size) if bundle.is_file() else None
    if start is None:
        raise BadInput("file-missing", str(bundle))
    if start.digest != asked.model:
        raise BadInput("plan-invalid", f"{bundle} is not the plan's model")
    reference = BenchmarkReference(name=question.name, version=question.version, digest=message_digest(question))
    silos = tuple(f"silo-{number:06}" for number in range(1, sites + 1))
    members = tuple(Member(silo_id=silo_id, public_key=_NO_KEY) for silo_id in silos)
    exact = exact_plan(asked, reference, start, silos, members)
    with tempfile.TemporaryDirectory(prefix="medsilo-") as name:
        folder = Path(name)
        weights_file(read_bundle(bundle), folder / "start.safetensors")
        cohorts = deal_cohort(cohort, folder / "cohorts", exact.silos, exact.seed)
        opened = open_sites(exact, question.model_dump(mode="json"), bundle, cohorts, folder)
        rounds = run(exact, folder / "start.safetensors", opened, folder)
        last = rounds[-1]
        scores = [entry.scores for entry in rounds]
        scores.append({site.silo_id: site.train(last.path, exact.rounds + 1, True)[1] for site in opened})
        if out is not None:
            shutil.copyfile(last.path, out)
    rows: list[Record] = [
        {"round": number, "model": entry.model.digest, "counted": entry.counted, "scores": after}
        for number, (entry, after) in enumerate(zip(rounds, scores[1:], strict=True), start=1)
    ]
    if as_json:
        print_json({"before": scores[0], "rounds": rows})
        return
    columns = ["round", "sites", f"mean {question.primary.name}", "worst site"]
    print_table(
        columns, [["start", sites, *_told(scores[0])], *([r["round"], r["counted"], *_told(r["scores"])] for r in rows)]
    )
    output().print(f"Last global model {last.model.digest}", soft_wrap=True)


def _told(scores: dict[str, float | None]) -> list[str | None]:
    found = [score for score in scores.values() if score is not None]
    return [f"{sum(found) / len(found):.4f}", f"{min(found):.4f}"] if found else [None, None]
