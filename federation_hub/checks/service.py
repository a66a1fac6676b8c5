"""A submitted model first runs on the operator's own silo, where there is one for its benchmark.

Same door, same task, same jail as at a hospital; the hub itself never runs a model. Until the check node has answered,
the model is ``checking`` and no evaluation names it.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM, Actor
from federation_hub.benchmarks.service import reference_to
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.tables import Task
from federation_hub.evaluations.tasks import move as move_task
from federation_hub.evaluations.tasks import offer
from federation_hub.models import service as models
from federation_hub.models.tables import Model
from federation_hub.silos.signed import open_signed
from federation_hub.silos.tables import Cohort, Silo
from federation_hub.stored import read_stored
from silo_node.wire.checks import CheckReport, CheckTask
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import PROBLEMS, WireError
from silo_node.wire.models import ModelReference
from silo_node.wire.tasks import ResultAnswer

_OPEN = ("offered", "claimed", "running")


def demo_cohort(session: Session, benchmark: Benchmark) -> Cohort | None:
    """Return the cohort of an active check node for a benchmark version, or None where there is no such node."""
    return session.scalar(
        select(Cohort)
        .join(Silo, Silo.id == Cohort.silo_id)
        .where(Silo.checks, Silo.state == "active", Cohort.state == "registered", Cohort.benchmark_id == benchmark.id)
        .order_by(Cohort.id)
        .limit(1)
    )


def ask_for_check(session: Session, model: Model, benchmark: Benchmark, cohort: Cohort) -> None:
    """Offer the check of a model that was judged sound; one that is under way already is enough."""
    body = CheckTask(
        benchmark=reference_to(benchmark),
        cohort=cohort.fingerprint,
        model=ModelReference(digest=model.digest, size=model.size),
    )
    waiting = session.scalars(select(Task).where(Task.kind == "check", Task.state.in_(_OPEN)))
    if not any(task.body["model"]["digest"] == model.digest for task in waiting):
        offer(session, silo_id=cohort.silo_id, body=body)


def take_report(session: Session, task: Task, envelope: Envelope, actor: Actor) -> ResultAnswer:
    """Accept or reject a model as its check says, and ask for its place on the benchmark it was submitted to.

    Raises ``report-wrong-task`` for a report on anything but the task.
    """
    report = open_signed(session, task.silo_id, envelope, CheckReport)
    body = read_stored(CheckTask, task.body)
    asked = (task.id, task.silo_id, body.benchmark, body.model.digest)
    if (report.task_id, report.silo_id, report.benchmark, report.model) != asked:
        raise WireError("report-wrong-task")
    if task.state == "cancelled":
        return ResultAnswer(state="late")
    move_task(session, task, "report", actor)
    move_task(session, task, "accept", actor)
    model = models.model_of_digest(session, report.model)
    if model.state == "checking":
        _decide(session, model, report, task)
    return ResultAnswer(state="accepted")


def _decide(session: Session, model: Model, report: CheckReport, task: Task) -> None:
    if report.code is not None:
        models.reject(session, model, report.code if report.code in PROBLEMS else "work-failed")
        return
    models.move(session, model, "accept", SYSTEM)
    reference = read_stored(CheckTask, task.body).benchmark
    benchmark = session.scalars(
        select(Benchmark).where(Benchmark.name == reference.name, Benchmark.version == reference.version)
    ).one()
    owner = Actor("person", model.owner_person_id, frozenset({"researcher"}), model.owner_organisation_id)
    models.associate(session, model.digest, benchmark, actor=owner)
