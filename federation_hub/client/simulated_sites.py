"""The sites of a simulation: one prepared cohort's patients dealt over several, each trained by the node's own code."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from federation_hub.client.simulation import Answer, Ask, SimulatedSite
from pipelines.errors import PipelineError
from silo_node.wire.benchmarks import METRICS
from silo_node.wire.course import Verdict, reference_of, standing_scores, verdict_on
from silo_node.wire.digests import digest_bytes, hex_part
from silo_node.wire.errors import BadInput
from silo_node.wire.privacy import PatientPrivacy, patient_steps
from silo_node.wire.studies import SiteScore, StudyPlan, judged

if TYPE_CHECKING:
    from pipelines.job import LocalPrivacy, RoundCommand, Score
    from pipelines.session import TrainingRounds

MANIFEST = "manifest.json"


def deal_cohort(cohort: Path, folder: Path, silo_ids: tuple[str, ...], seed: int) -> list[Path]:
    """Deal a prepared cohort's patients over sites at random, and return a cohort folder for each.

    A patient is at one site only. Raises ``BadInput`` ``data-missing`` without a manifest, ``cohort-too-small`` where
    there are fewer patients than sites.
    """
    try:
        manifest = json.loads((cohort / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput("data-missing", f"{cohort} has no {MANIFEST}") from error
    patients = sorted({entry["patient"] for entry in manifest["cases"]})
    if len(patients) < len(silo_ids):
        raise BadInput("cohort-too-small", f"{len(patients)} patients for {len(silo_ids)} sites")
    order = np.random.default_rng(seed).permutation(len(patients))
    made = []
    for silo_id, places in zip(silo_ids, np.array_split(order, len(silo_ids)), strict=True):
        own = {patients[place] for place in places}
        site = folder / silo_id
        site.mkdir(parents=True)
        for path in cohort.iterdir():
            if path.name != MANIFEST:
                (site / path.name).symlink_to(path.resolve())
        kept = manifest | {"cases": [entry for entry in manifest["cases"] if entry["patient"] in own]}
        (site / MANIFEST).write_text(json.dumps(kept), encoding="utf-8")
        made.append(site)
    return made


def open_sites(
    plan: StudyPlan, definition: dict[str, Any], bundle: Path, cohorts: list[Path], folder: Path
) -> list[SimulatedSite]:
    """Return a site for each cohort, in the order of the plan's silos; loads torch, one thread."""
    from pipelines.worker import limit_threads

    limit_threads(1)
    return [
        _open_site(plan, definition, bundle, cohort, silo_id, folder / f"{silo_id}.out")
        for silo_id, cohort in zip(plan.silos, cohorts, strict=True)
    ]


def _open_site(
    plan: StudyPlan, definition: dict[str, Any], bundle: Path, cohort: Path, silo_id: str, out: Path
) -> SimulatedSite:
    from pipelines.cohort import cases_of, read_manifest
    from pipelines.job import Keeping, LocalTraining, TrainSession
    from pipelines.question import read_question
    from pipelines.session import TrainingRounds

    manifest = read_manifest(cohort)
    patients = len({entry.patient for entry in cases_of(manifest, "train")})
    job = TrainSession(
        cohort=cohort,
        definition=definition,
        bundle=bundle,
        local=LocalTraining.model_validate(plan.local.model_dump()),
        out=out,
        exchange=out,
        keeps=Keeping.model_validate(plan.keeps),
        state=out / "state",
        seed=plan.seed,
        privacy=simulated_privacy(plan, patients, silo_id),
    )
    rounds = TrainingRounds.opened(job, lambda done, total: None)
    higher = METRICS[read_question(definition).primary.name][1] == "higher"
    site = SiteAgent(plan, rounds, len(cases_of(manifest, "validation")), higher=higher)
    return SimulatedSite(silo_id, len(cases_of(manifest, "train")), site.train)


class SiteAgent:
    """What the node's agent does around a session: it keeps the book of scores and gives the verdict."""

    def __init__(self, plan: StudyPlan, rounds: "TrainingRounds", cases: int, *, higher: bool = True) -> None:
        self._plan, self._rounds, self._cases, self._higher = plan, rounds, cases, higher
        self._book: list[tuple[str, float | None, Verdict]] = []

    def train(self, ask: Ask) -> Answer:
        """Do the site's part of a round."""
        gate, base = self._plan.gate, str(ask.weights)
        reference = reference_of(standing_scores(self._book, base), higher=self._higher) if gate else None
        try:
            event = self._rounds.run(_command(ask, reference, gate.tolerance if gate else 0.0, self._higher))
        except PipelineError:
            return Answer(None, None)  # as at a hub, a site whose training failed sends nothing
        value = judged(self._plan, _told(event.score), _told(event.personal) if event.personal else None).value
        verdict: Verdict | None = None
        if gate is not None and ask.evaluate:
            verdict = verdict_on(gate, value, reference, higher=self._higher)
            first = next((place for place, entry in enumerate(self._book) if entry[0] == base), len(self._book))
            self._book[first:] = [(base, value, verdict)]
        return Answer(
            update=event.update,
            value=value,
            cases=self._cases,
            verdict=verdict,
            shared=event.score.value,
            personal=event.personal.value if event.personal else None,
            alone=event.alone.value if event.alone else None,
            mixed=event.mixed,
        )


def simulated_privacy(plan: StudyPlan, patients: int, silo_id: str) -> "LocalPrivacy | None":
    """Return the noise of a simulated silo: as much as a real one's, but from the plan's seed, so it hides nothing."""
    from pipelines.job import LocalPrivacy
    from pipelines.privacy.accounting import noise_for

    if not isinstance(plan.privacy, PatientPrivacy):
        return None
    steps, promise = patient_steps(plan, patients), plan.privacy
    return LocalPrivacy(
        noise_multiplier=noise_for(promise.epsilon, promise.delta, rate=steps.rate, steps=steps.planned),
        rate=steps.rate,
        steps=steps.a_round,
        clipping_norm=promise.clipping_norm,
        clipping_quantile=promise.clipping_quantile,
        images_per_patient=promise.images_per_patient,
        noise_key=hex_part(digest_bytes(f"{plan.seed} {silo_id}".encode())),
    )


def _command(ask: Ask, reference: float | None, tolerance: float, higher: bool) -> "RoundCommand":
    from pipelines.job import RoundCommand

    return RoundCommand(
        round=ask.round,
        weights=ask.weights,
        validate_only=ask.validate_only,
        evaluate=ask.evaluate,
        control=ask.control,
        standing=ask.standing,
        best=ask.best,
        reference=reference,
        tolerance=tolerance,
        higher=higher,
        neighbourhood=ask.neighbourhood,
    )


def _told(score: "Score") -> SiteScore:
    return SiteScore(metric=score.metric, value=score.value, cases=score.cases)
