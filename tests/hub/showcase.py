"""A hub filled as four hospitals, five models and one study would fill it, in a few seconds and with real statistics.

Everything but the study goes through the hub's own routes: signed blocks are computed from simulated per-case scores by
the estimators a site runs. The study's rounds are written as rows, because no node trains here.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
from sqlalchemy import select

from benchmarks.statistics.cases import Cohort as CaseCohort
from benchmarks.statistics.cases import ExpectedCase, scored_cases
from benchmarks.statistics.estimate import estimate_body
from benchmarks.statistics.rules import benchmark_rules
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.evaluations.tables import Task as TaskRow
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Cohort, Silo
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import message_digest
from silo_node.wire.estimates import EstimateBlock
from silo_node.wire.tasks import EvaluationTask, Task
from tests.hub.federation import Federation, SiloCaller, block_for, bundle_bytes, definition, reference_to

CASES = 220
ROUNDS = 6


@dataclass(frozen=True)
class Pretender:
    """A model as its scores at each hospital: how far it tells the classes apart, and what it costs where."""

    name: str
    organisation: str
    skill: float
    weakness: tuple[float, float, float, float]
    baseline: bool = False
    description: str = ""


PRETENDERS = (
    Pretender(
        "DenseNet-121, federated",
        "MedSilo example",
        2.35,
        (0.0, 0.05, 0.45, 0.05),
        description="Trained by four hospitals together, starting from a plain network.",
    ),
    Pretender("EfficientNet-B0", "Imaging Lab North", 2.3, (-0.05, 0.1, 0.75, 0.0)),
    Pretender("EfficientNet-B0, augmented", "Imaging Lab North", 1.8, (0.0, 0.05, 0.5, 0.05)),
    Pretender("DenseNet-121", "University of Example", 1.6, (0.0, 0.05, 0.6, 0.0)),
    Pretender("Mean intensity", "MedSilo example", 1.0, (0.0, 0.05, 0.3, 0.05), baseline=True),
)
HOSPITALS = ("Eastgate", "Harbour", "Lakeside Clinic", "Southfield")


def showcase_definition(**changes: Any) -> BenchmarkDefinition:
    """Return the benchmark of the showcase."""
    return definition(
        **{
            "title": "Opacity on chest radiographs",
            "summary": "Tell radiographs with an opacity from clear ones. Every hospital scores each model on its own "
            "test patients; images and per-case results never leave it.",
            "data_source": "Generated chest phantoms of four scanners",
            "metrics": [
                {"name": "auroc", "primary": True, "floor": 0.85},
                {"name": "balanced_accuracy"},
                {"name": "brier"},
                {"name": "ece"},
            ],
            "preparation": [],
            "thresholds": [0.5],
            "subgroups": ["sex"],
            **changes,
        }
    )


def fill(federation: Federation, *, hospitals: int = 4, study: bool = True, **changes: Any) -> BenchmarkDefinition:
    """Publish the benchmark, let hospitals join and models be submitted, and answer every evaluation."""
    benchmark = showcase_definition(**changes)
    assert federation.admin.post("/benchmarks", benchmark).status_code == 201
    silos = [federation.silo(name) for name in HOSPITALS[:hospitals]]
    for silo in silos:
        assert silo.register_cohort(benchmark, test_cases=CASES).status_code < 300
    digests = submit_all(federation, benchmark)
    for place, silo in enumerate(silos):
        answer_evaluation(silo, benchmark, digests, place)
    if study and hospitals == len(HOSPITALS):
        add_study(federation, benchmark, silos, digests)
        federation.refresh(benchmark.name, benchmark.version)
    return benchmark


def submit_all(federation: Federation, benchmark: BenchmarkDefinition) -> dict[str, int]:
    """Submit every model and return its number by digest."""
    digests = {}
    for number, pretender in enumerate(PRETENDERS):
        owner = federation.person(f"Researcher {number}", "researcher", organisation=pretender.organisation)
        card = {
            "name": pretender.name,
            "baseline": pretender.baseline,
            "description": pretender.description,
            "intended_use": "Research only.",
            "training_data": "Generated phantoms that are at none of these hospitals.",
            "licence": "Apache-2.0",
        }
        reference = owner.upload(bundle_bytes(number))
        body = {"bundle": reference, "card": card, "benchmark": benchmark.name, "benchmark_version": benchmark.version}
        answer = owner.post("/models", body)
        assert answer.status_code < 300, answer.text
        digests[reference["digest"]] = number
    return digests


def answer_evaluation(
    silo: SiloCaller, benchmark: BenchmarkDefinition, digests: dict[str, int], place: int
) -> EstimateBlock:
    """Claim the silo's evaluation and answer it with estimates of simulated scores."""
    task = silo.claim()
    assert task is not None
    assert isinstance(task.body, EvaluationTask)
    numbers = tuple(digests[model.digest] for model in task.body.models)
    block = read_block(task, estimates(benchmark.model_dump_json(), numbers, place))
    answer = silo.post(f"/tasks/{task.task_id}/result", silo.seal(block))
    assert answer.get_json() == {"state": "accepted", "code": None}, answer.text
    return block


def read_block(task: Task, body: str) -> EstimateBlock:
    """Return a whole block around estimates."""
    return EstimateBlock.model_validate_json(
        json.dumps(block_for(task).model_dump(mode="json") | json.loads(body), default=str)
    )


@cache
def estimates(definition_json: str, numbers: tuple[int, ...], place: int) -> str:
    """Return the estimates of these models at a hospital as JSON; kept, because the bootstrap takes its time."""
    rng = np.random.default_rng(1000 + place)
    label = (rng.random(CASES) < 0.35).astype(int)
    sex = np.where(rng.random(CASES) < 0.5, "f", "m")
    difficulty = rng.normal(size=CASES)
    cohort = CaseCohort(
        tuple(
            ExpectedCase(f"{index:016x}", f"{index:016x}", int(label[index]), {"sex": str(sex[index])})
            for index in range(CASES)
        )
    )
    answers = []
    for number in numbers:
        pretender = PRETENDERS[number]
        own = np.random.default_rng(number * 10 + place).normal(size=CASES)
        signal = (pretender.skill - pretender.weakness[place]) * (label - 0.5)
        score = 1 / (1 + np.exp(-(signal + 0.8 * difficulty + 0.6 * own - 0.4)))
        answers.append(
            [
                {"case": f"{index:016x}", "failed": False, "scores": [1 - float(value), float(value)]}
                for index, value in enumerate(np.round(score * 4096) / 4096)
            ]
        )
    benchmark = json.loads(definition_json)
    rules = benchmark_rules(benchmark, digest="blake3:" + "0" * 64)
    body = estimate_body(scored_cases(cohort, answers, classes=2), rules, rng=rng)
    return json.dumps(body)


def add_study(
    federation: Federation, benchmark: BenchmarkDefinition, silos: list[SiloCaller], digests: dict[str, int]
) -> str:
    """Write a completed study that made the first model from the fourth, with one refused and one late update."""
    final, start = (next(digest for digest, number in digests.items() if number == wanted) for wanted in (0, 3))
    plan = {
        "name": "opacity_together",
        "title": "Opacity, learned together",
        "benchmark": reference_to(benchmark).model_dump(mode="json"),
        "model": {"digest": start, "size": 1000},
        "silos": [silo.silo_id for silo in silos],
        "rounds": ROUNDS,
        "quorum": 3,
        "deadline_seconds": 3600,
        "strategy": "fedavg",
        "local": {
            "epochs": 2,
            "batch_size": 16,
            "optimiser": "adam",
            "learning_rate": 0.002,
            "augment": True,
            "max_steps": None,
        },
        "norm_bound": 25.0,
        "seed": 7,
    }
    with federation.services.database.session() as session:
        row = session.scalar(select(Benchmark).where(Benchmark.digest == message_digest(benchmark)))
        base, made = session.get_one(Model, start), session.get_one(Model, final)
        assert row is not None
        at = now() - timedelta(hours=2)
        study = Study(
            state="completed",
            plan=plan,
            plan_digest=message_digest(plan),
            benchmark_id=row.id,
            model_digest=base.digest,
            final_model_digest=made.digest,
            owner_organisation_id=made.owner_organisation_id,
            owner_person_id=made.owner_person_id,
            created=at,
            started=at,
            finished=at + timedelta(minutes=40),
        )
        session.add(study)
        session.flush()
        made.lineage = {"study": study.id, "plan_digest": study.plan_digest, "base_model": base.digest, "rounds": []}
        for silo in silos:
            session.add(
                Association(
                    kind="silo-study",
                    state="approved",
                    benchmark_id=row.id,
                    study_id=study.id,
                    silo_id=silo.silo_id,
                    requested_side="study",
                    requested_by=study.owner_person_id,
                )
            )
        for number in range(1, ROUNDS + 2):
            _add_round(session, study, number, [silo.silo_id for silo in silos], at)
        return study.id


def _add_round(session: Any, study: Study, number: int, silos: list[str], at: Any) -> None:
    closing = number == ROUNDS + 1
    session.add(
        StudyRound(
            study_id=study.id,
            number=number,
            attempt=1,
            state="committed",
            validate_only=closing,
            base_digest="blake3:" + "1" * 64,
            deadline=at + timedelta(hours=1),
            opened=at,
        )
    )
    session.flush()
    for place, silo_id in enumerate(silos):
        state, code = "folded", None
        if number == 3 and place == 1:
            state, code = "rejected", "update-not-finite"
        if number == 5 and place == 2:
            state, code = "late", None
        task = TaskRow(silo_id=silo_id, kind="round", state="accepted", study_id=study.id, round=number, body={})
        session.add(task)
        session.flush()
        cohort = session.scalars(select(Cohort).where(Cohort.silo_id == silo_id)).one()
        value = 0.93 - 0.32 * 0.6 ** (number - 1) - (0.0, 0.015, 0.06, -0.01)[place]
        session.add(
            StudyUpdate(
                study_id=study.id,
                number=number,
                attempt=1,
                silo_id=silo_id,
                task_id=task.id,
                cohort_id=cohort.id,
                weight=70,
                state="verified" if closing else state,
                code=None if closing else code,
                report={
                    "task_id": task.id,
                    "study_id": study.id,
                    "silo_id": silo_id,
                    "round": number,
                    "plan_digest": study.plan_digest,
                    "base": "blake3:" + "1" * 64,
                    "cohort": cohort.fingerprint,
                    "update": None,
                    "score": {"metric": "auroc", "value": round(value, 4), "reason": None, "cases": 20},
                    "train_seconds": 30.0,
                },
            )
        )


def name_site(federation: Federation, silo_id: str, publication: str) -> None:
    """Let a hospital wish to be named, shown under a pseudonym, or not shown."""
    with federation.services.database.session() as session:
        session.get_one(Silo, silo_id).publication = publication
