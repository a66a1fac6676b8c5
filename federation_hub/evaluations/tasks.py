"""Tasks: offered to a silo, claimed with a lease, kept alive by heartbeats, given back when the lease runs out."""

from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM, Actor
from federation_hub.accounts.audit import record
from federation_hub.db import now
from federation_hub.evaluations.rules import TASK
from federation_hub.evaluations.tables import Task
from silo_node.wire.checks import CheckTask
from silo_node.wire.errors import MedSiloError
from silo_node.wire.statistics import StatisticsTask
from silo_node.wire.studies import RoundTask
from silo_node.wire.tasks import EvaluationTask


def offer(session: Session, *, silo_id: str, body: EvaluationTask | RoundTask | CheckTask | StatisticsTask) -> str:
    """Offer a unit of work to one silo and return the task's id."""
    task = Task(silo_id=silo_id, kind=body.kind, body=body.model_dump(mode="json"), state="offered")
    if isinstance(body, EvaluationTask):
        task.evaluation_id = body.evaluation_id
    elif isinstance(body, RoundTask):
        task.study_id, task.round = body.study_id, body.round
    session.add(task)
    session.flush()
    record(session, SYSTEM, "task.offer", task.id, None, "offered")
    return task.id


def cancel(session: Session, task_id: str, *, actor: Actor = SYSTEM, code: str | None = None) -> None:
    """Withdraw a task that is not answered yet; one that is final stays as it is."""
    task = session.get_one(Task, task_id)
    if TASK.allows(task.state, "cancel"):
        move(session, task, "cancel", actor, code)


def move(session: Session, task: Task, event: str, actor: Actor, code: str | None = None) -> None:
    """Take a task through one transition and write it to the audit trail; raises ``state-conflict``."""
    before, task.state = task.state, TASK.after(task.state, event)
    task.touched = now()
    if task.state in ("declined", "refused", "cancelled"):
        task.code = code
    if task.state not in ("claimed", "running"):
        task.lease_until, task.held = None, False
    record(session, actor, f"task.{event}", task.id, before, task.state, code)


def own_task(session: Session, task_id: str, actor: Actor) -> Task:
    """Return a task of the silo that asks; raises ``not-found`` for anybody else's."""
    task = session.get(Task, task_id, with_for_update=True)
    if task is None or task.silo_id != actor.id:
        raise MedSiloError("not-found")
    return task
