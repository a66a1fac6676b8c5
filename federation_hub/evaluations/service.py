"""Which evaluations there should be, and the tasks that carry them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM, Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Organisation
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.service import reference_to
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.entries.tables import Entry
from federation_hub.evaluations.rules import EVALUATION
from federation_hub.evaluations.tables import Evaluation, Task
from federation_hub.evaluations.tasks import cancel, offer
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Cohort, Silo
from silo_node.wire.models import ModelReference
from silo_node.wire.tasks import EvaluationTask

MODELS_A_BLOCK = 50
"""The wire's limit; beyond it those of the highest priority, then the newest, go together with the baselines."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that has its place on a benchmark. A larger ``age`` was approved later."""

    digest: str
    size: int
    baseline: bool
    age: int
    owner: str = ""
    """The organisation, by the name sites see."""

    priority: int = 0


@dataclass(frozen=True, slots=True)
class Again:
    """A wish to ask cohorts once more: all of them or one silo's, for a coded reason."""

    silo_id: str | None = None
    reason: str | None = None

    def concerns(self, cohort: Cohort) -> bool:
        return self.silo_id in (None, cohort.silo_id)


def models_to_evaluate(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the models of one evaluation in the order of its vectors: by digest, so that the order tells nothing."""
    kept = sorted(candidates, key=lambda entry: (not entry.baseline, -entry.priority, -entry.age))[:MODELS_A_BLOCK]
    return tuple(sorted(kept, key=lambda entry: entry.digest))


def plan_evaluations(session: Session, benchmark: Benchmark, *, again: Again | None = None) -> list[str]:
    """Bring evaluations in line with the approved models and cohorts of a benchmark; return the new ones' ids.

    Each approved cohort gets one evaluation of all approved models together, since only scores on the same cases have
    a covariance. An offered but unclaimed one for other models is replaced; one that a silo is working on is left, and
    its end brings the plan up to date. The same models are not sent to a cohort twice, but where ``again`` says so.
    """
    session.flush()
    models = models_to_evaluate(_approved_models(session, benchmark))
    approved = _approved_cohorts(session, benchmark)
    for evaluation in _open(session, benchmark):
        fits = evaluation.cohort_id in approved and evaluation.models == [model.digest for model in models]
        if not fits and not _in_progress(session, evaluation):
            close(session, evaluation, "cancel", SYSTEM)
    session.flush()
    busy = {evaluation.cohort_id for evaluation in _open(session, benchmark)}
    free = [cohort for cohort_id, cohort in approved.items() if cohort_id not in busy]
    asked = {cohort.id: again for cohort in free if again is not None and again.concerns(cohort)}
    return [
        _create(session, benchmark, cohort, models, asked.get(cohort.id, Again()).reason)
        for cohort in free
        if _wanted(session, cohort, models, cohort.id in asked)
    ]


def close(session: Session, evaluation: Evaluation, event: str, actor: Actor, code: str | None = None) -> None:
    """End an open evaluation; a task that is still offered or leased is cancelled with it."""
    before, evaluation.state = evaluation.state, EVALUATION.after(evaluation.state, event)
    evaluation.code, evaluation.finished = code, now()
    record(session, actor, f"evaluation.{event}", evaluation.id, before, evaluation.state, code)
    for task_id in session.scalars(select(Task.id).where(Task.evaluation_id == evaluation.id)).all():
        cancel(session, task_id, actor=actor, code=code)


def _approved_models(session: Session, benchmark: Benchmark) -> list[Candidate]:
    rows = session.execute(
        select(Model, Organisation.name, Entry)
        .join(Association, Association.model_digest == Model.digest)
        .join(Organisation, Organisation.id == Model.owner_organisation_id)
        .outerjoin(Entry, (Entry.model_digest == Model.digest) & (Entry.benchmark_id == benchmark.id))
        .where(Association.benchmark_id == benchmark.id, Association.state == "approved", Model.state == "accepted")
        .order_by(Association.decided, Model.digest)
    )
    return [
        Candidate(model.digest, model.size, is_baseline(model, entry), age, owner, entry.priority if entry else 0)
        for age, (model, owner, entry) in enumerate(rows.all())
    ]


def is_baseline(model: Model, entry: Entry | None) -> bool:
    """Tell whether a model is a baseline: as the benchmark's owner says, else as its card does."""
    return bool(model.card.get("baseline")) if entry is None or entry.baseline is None else entry.baseline


def _approved_cohorts(session: Session, benchmark: Benchmark) -> dict[str, Cohort]:
    rows = session.scalars(
        select(Cohort)
        .join(Association, Association.cohort_id == Cohort.id)
        .join(Silo, Silo.id == Cohort.silo_id)
        .where(~Silo.checks)
        .where(Association.benchmark_id == benchmark.id, Association.state == "approved", Cohort.state == "registered")
        .order_by(Cohort.id)
    )
    return {cohort.id: cohort for cohort in rows}


def _open(session: Session, benchmark: Benchmark) -> list[Evaluation]:
    rows = select(Evaluation).where(Evaluation.benchmark_id == benchmark.id, Evaluation.state == "open")
    return list(session.scalars(rows))


def _in_progress(session: Session, evaluation: Evaluation) -> bool:
    states = session.scalars(select(Task.state).where(Task.evaluation_id == evaluation.id))
    return any(state in ("claimed", "running", "reported") for state in states)


def _wanted(session: Session, cohort: Cohort, models: tuple[Candidate, ...], again: bool) -> bool:
    if not models or cohort.test_cases == 0:
        return False
    last = session.scalar(
        select(Evaluation)
        .where(Evaluation.cohort_id == cohort.id, Evaluation.state != "cancelled")
        .order_by(Evaluation.created.desc())
    )
    return again or last is None or last.models != [model.digest for model in models]


def _create(
    session: Session, benchmark: Benchmark, cohort: Cohort, models: tuple[Candidate, ...], reason: str | None
) -> str:
    digests = [model.digest for model in models]
    evaluation = Evaluation(
        benchmark_id=benchmark.id,
        cohort_id=cohort.id,
        silo_id=cohort.silo_id,
        models=digests,
        attempt=_earlier_attempts(session, cohort, digests) + 1,
        reason=reason,
        state="open",
    )
    session.add(evaluation)
    session.flush()
    record(session, SYSTEM, "evaluation.open", evaluation.id, None, "open")
    task = EvaluationTask(
        evaluation_id=evaluation.id,
        benchmark=reference_to(benchmark),
        cohort=cohort.fingerprint,
        models=tuple(ModelReference(digest=model.digest, size=model.size) for model in models),
        attempt=evaluation.attempt,
        owners=tuple(model.owner for model in models),
    )
    offer(session, silo_id=cohort.silo_id, body=task)
    return evaluation.id


def _earlier_attempts(session: Session, cohort: Cohort, digests: list[str]) -> int:
    rows = select(Evaluation.models).where(Evaluation.cohort_id == cohort.id, Evaluation.state != "cancelled")
    return sum(models == digests for models in session.scalars(rows))


def open_evaluations(session: Session) -> int:
    """Return how many evaluations are open."""
    return session.scalar(select(func.count()).select_from(Evaluation).where(Evaluation.state == "open")) or 0
