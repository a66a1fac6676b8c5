"""A site in the middle of its work, for the console's tests: cohorts, questions that wait, tasks, and a log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from silo_node.agent.consents import consider
from silo_node.agent.tasks import TaskBook
from silo_node.benchmarks import keep_benchmark
from silo_node.cohorts.build import build_cohort
from silo_node.cohorts.registry import mark_registered, prepare_registration
from silo_node.identity import Identity, load_identity
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.outbox.egress_log import EgressLog
from silo_node.policy import Decision
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference, DisclosureLimits
from silo_node.wire.cohorts import CohortRegistration
from silo_node.wire.digests import digest_bytes, digest_file
from silo_node.wire.envelope import payload_type, seal
from silo_node.wire.estimates import ClassEstimates, EstimateBlock, MetricEstimate, ResourceUse, Software
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import LocalTraining, RoundReport, RoundTask, SiteScore, StudyConsentRequest, StudyPlan
from silo_node.wire.tasks import EvaluationTask, Task
from silo_node.wire.transfers import BlobReference
from tests.silo.preparations import classification, fit
from tests.silo.sources import npz_site
from tests.silo.stand_in import SILO, StandIn, enrolled, home_at

POLICY = """\
minimum_cohort = 20
publication = "pseudonym"

[benchmarks]
allow = ["little_xray", "bone_xray"]

[studies]
others = "hold"

[release]
registrations = "hold"
results = "hold"
updates = "hold"
"""
HOLD = Decision("hold", None, "release.results")
AUTO = Decision("allow", None, "release.results")
MODELS = tuple("blake3:" + digit * 64 for digit in "37c")


def furnish(folder: Path) -> tuple[Home, StandIn]:
    """Make the site and the stand-in for its hub."""
    home, hub = home_at(folder), StandIn()
    enrolled(home, hub)
    home.config_file.write_text('provenance = "synthetic"\n')
    home.policy_file.write_text(POLICY)
    identity = load_identity(home)
    chest = _cohort(home, folder, classification())
    _cohort(home, folder, classification(name="bone_xray").model_copy(update={"title": "Little bones"}))
    mark_registered(home, chest, "coh-3k9f0q2m")
    journal = Journal(home)
    _outbox(home, hub, identity, journal, chest)
    _tasks(hub, journal)
    journal.close()
    _log(home)
    return home, hub


def _cohort(home: Home, folder: Path, definition: BenchmarkDefinition) -> str:
    source = folder / f"source-{definition.name}"
    table = npz_site(source, 60)
    take_in(home, TableSource(table, source, collection=definition.name, modality="DX"), IntakeRules(definition.name))
    keep_benchmark(home, definition)
    return build_cohort(home, definition, fit, minimum_cases=20, collection=definition.name).cohort.cohort_id


def _outbox(home: Home, hub: StandIn, identity: Identity, journal: Journal, chest: str) -> None:
    outbox = Outbox(journal)
    registration = prepare_registration(home, chest, silo_id=SILO, provenance="synthetic")
    item = outbox.add("cohort-registration", registration.fingerprint, seal(registration, identity.key), HOLD)
    outbox.release(item.item_id, "j.fischer")
    outbox.sending(item.item_id)
    outbox.acknowledged(item.item_id, "{}")
    block = results(registration.benchmark, registration.fingerprint)
    outbox.add("estimate-block", block.task_id, seal(block, identity.key), HOLD)
    consider(home, identity, journal, consent(hub, registration.benchmark))
    report, update = round_report(home, registration.fingerprint)
    outbox.add("round-report", report.task_id, seal(report, identity.key), HOLD, update)


def results(benchmark: BenchmarkReference, cohort: str) -> EstimateBlock:
    """Return an estimate block of three models."""
    covariance = tuple(tuple(0.0009 if row == column else 0.0004 for column in range(3)) for row in range(3))
    started = datetime(2026, 5, 3, 9, 30, tzinfo=UTC)
    return EstimateBlock(
        task_id="task-12345678",
        evaluation_id="eval-12345678",
        silo_id=SILO,
        benchmark=benchmark,
        cohort=cohort,
        models=MODELS,
        attempt=1,
        software=Software(medsilo="0.1.0", monai="1.6.1", torch="2.13.0"),
        started=started,
        finished=started + timedelta(minutes=12),
        limits=DisclosureLimits(),
        cases=60,
        patients=58,
        failed=(0, 1, 0),
        classes=(
            ClassEstimates(
                label="pneumonia",
                positives=30,
                negatives=30,
                metrics=(
                    MetricEstimate(metric="auroc", status="estimated", theta=(0.912, 0.887, 0.641), cov=covariance),
                    MetricEstimate(metric="ece", status="undefined", reason="too-few-cases"),
                ),
            ),
        ),
        resources=tuple(ResourceUse(seconds_mean=0.2, seconds_sd=0.01, peak_memory_mb=410.0) for _ in MODELS),
    )


def plan(benchmark: BenchmarkReference) -> StudyPlan:
    """Return a study's plan."""
    return StudyPlan(
        name="lungs_together",
        title="Lungs together",
        benchmark=benchmark,
        model=ModelReference(digest=MODELS[0], size=28_400_000),
        silos=(SILO, "silo-fir00000", "silo-oak00000"),
        rounds=12,
        quorum=2,
        deadline_seconds=7200,
        local=LocalTraining(epochs=2, learning_rate=1e-3),
        norm_bound=25.0,
    )


def consent(hub: StandIn, benchmark: BenchmarkReference) -> StudyConsentRequest:
    """Return a study's request."""
    return StudyConsentRequest(
        association_id="assoc-12345678",
        study_id="study-7h2j5k8m",
        requested_by="Dr Ada Keller",
        organisation="Lakeside University",
        plan=plan(benchmark),
        hub_public_key=hub.public_key,
    )


def round_report(home: Home, cohort: str) -> tuple[RoundReport, Path]:
    """Return a round's report and its update."""
    update = home.outbox / "study-5b1c.r4.safetensors"
    save_file({"head.weight": np.zeros((64, 64), np.float32)}, update)
    report = RoundReport(
        task_id="task-87654321",
        study_id="study-7h2j5k8m",
        silo_id=SILO,
        round=4,
        plan_digest=digest_bytes(b"plan"),
        base=digest_bytes(b"base"),
        cohort=cohort,
        update=BlobReference(digest=digest_file(update), size=update.stat().st_size),
        score=SiteScore(metric="auroc", value=0.934, cases=6),
        train_seconds=312.4,
    )
    return report, update


def _tasks(hub: StandIn, journal: Journal) -> None:
    book, at = TaskBook(journal), datetime(2026, 5, 3, 9, 0, tzinfo=UTC)
    reference = BenchmarkReference(name="little_xray", version=1, digest=MODELS[0])
    fingerprint = "keyed-blake3:" + "b" * 64
    models = tuple(ModelReference(digest=model, size=10) for model in MODELS)
    evaluation = EvaluationTask(
        evaluation_id="eval-12345678", benchmark=reference, cohort=fingerprint, models=models, attempt=1
    )
    study = plan(reference)
    work = RoundTask(
        study_id="study-7h2j5k8m",
        plan=study,
        plan_digest=digest_bytes(b"plan"),
        round=4,
        validate_only=False,
        cohort=fingerprint,
        weights=BlobReference(digest=MODELS[1], size=100),
    )
    for task_id, body in (("task-00000001", evaluation), ("task-00000002", work), ("task-00000003", evaluation)):
        task = Task(task_id=task_id, silo_id=SILO, issued=at, body=body)
        book.claim(task_id, body.kind, seal(task, hub.key))
    book.move("task-00000001", "closed", "policy-model-tier")
    book.move("task-00000002", "answered")
    book.move("task-00000003", "running")
    book.progress("task-00000003", 34, 60)


def _log(home: Home) -> None:
    log = EgressLog(home.egress_log)
    registration = f"Envelope[{payload_type(CohortRegistration)}]"
    for number in range(6):
        log.append(
            method="POST", path="/tasks/claim", kind="ClaimRequest", digest=digest_bytes(b"%d" % number), size=33
        )
    log.append(
        method="POST", path="/api/v1/silo/cohorts", kind=registration, digest=digest_bytes(b"r"), size=1210, subject=""
    )
    log.append(
        method="PATCH",
        path="/api/v1/uploads/{id}",
        kind="bytes:update",
        digest=digest_bytes(b"u"),
        size=28_400_000,
        subject="upl-12345678@0",
    )
