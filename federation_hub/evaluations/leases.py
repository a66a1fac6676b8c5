"""Leases: a task is claimed for a while, kept by heartbeats, handed back, given up, or offered again."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM, Actor
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.evaluations.rules import EVALUATION, LEASED, TASK
from federation_hub.evaluations.service import close, plan_evaluations
from federation_hub.evaluations.tables import Evaluation, Task
from federation_hub.evaluations.tasks import move, own_task
from federation_hub.services import Services
from federation_hub.stored import read_stored
from silo_node.wire.envelope import Envelope, seal
from silo_node.wire.errors import MedSiloError
from silo_node.wire.tasks import Decline, Heartbeat, HeartbeatAnswer
from silo_node.wire.tasks import Task as WireTask

GIVEN_UP = "work-failed"
_RETRY_SECONDS = 30.0


def claim(session: Session, services: Services, *, kinds: Sequence[str], actor: Actor) -> Envelope | None:
    """Lease the next task to a silo and return it signed: rounds before evaluations, the oldest first."""
    at = now()
    expire(session, services, at, silo_id=actor.id)
    offered = select(Task).where(
        Task.silo_id == actor.id, Task.state == "offered", Task.kind.in_(kinds), Task.available_from <= at
    )
    order = offered.order_by(Task.kind.desc(), Task.created, Task.id).limit(1)
    task = session.scalar(order.with_for_update(skip_locked=True))
    if task is None:
        return None
    move(session, task, "claim", actor)
    task.attempt += 1
    task.lease_until = at + timedelta(seconds=services.config.lease_seconds)
    task.progress_done = task.progress_total = 0
    body = {"task_id": task.id, "silo_id": task.silo_id, "issued": at.isoformat(), "body": task.body}
    return seal(read_stored(WireTask, body), services.key)


def heartbeat(session: Session, services: Services, task_id: str, beat: Heartbeat, actor: Actor) -> HeartbeatAnswer:
    """Extend a lease; raises ``lease-lost`` where there is none any more. A cancelled task says so."""
    task = own_task(session, task_id, actor)
    if task.state == "cancelled":
        return HeartbeatAnswer(lease_seconds=0, cancelled=True)
    if task.state not in LEASED:
        raise MedSiloError("lease-lost" if task.state == "offered" else "task-done")
    if task.state == "claimed":
        move(session, task, "start", actor)
    seconds = services.config.lease_seconds
    task.lease_until = now() + timedelta(seconds=seconds)
    task.held = beat.state == "held"
    task.progress_done, task.progress_total = beat.done, beat.total
    return HeartbeatAnswer(lease_seconds=seconds, cancelled=False)


def decline(session: Session, task_id: str, answer: Decline, actor: Actor) -> Task:
    """Take a silo's coded no; with ``retry`` the task is offered again after a pause. Raises ``task-done``."""
    task = own_task(session, task_id, actor)
    if task.state == "declined":
        return task
    if answer.retry and TASK.allows(task.state, "release"):
        move(session, task, "release", actor, answer.code)
        task.code = answer.code
        task.available_from = now() + timedelta(seconds=_RETRY_SECONDS)
    elif TASK.allows(task.state, "decline"):
        _give_up(session, task, actor, answer.code)
    else:
        raise MedSiloError("task-done")
    return task


def expire(session: Session, services: Services, at: datetime, *, silo_id: str | None = None) -> list[Task]:
    """Offer again what has a lease that ran out, and give up what ran out too often; return the tasks concerned.

    Nothing expires before the hub has been up for one lease, since silos could not reach it to keep theirs.
    """
    if at < services.started + timedelta(seconds=services.config.lease_seconds):
        return []
    leased = select(Task).where(Task.state.in_(LEASED), Task.lease_until <= at)
    if silo_id is not None:
        leased = leased.where(Task.silo_id == silo_id)
    lapsed = list(session.scalars(leased.with_for_update(skip_locked=True)))
    for task in lapsed:
        move(session, task, "expire", SYSTEM)
        if task.attempt >= services.config.maximum_attempts:
            _give_up(session, task, SYSTEM, GIVEN_UP)
    return lapsed


def _give_up(session: Session, task: Task, actor: Actor, code: str) -> None:
    move(session, task, "decline", actor, code)
    evaluation = session.get(Evaluation, task.evaluation_id) if task.evaluation_id else None
    if evaluation is not None and EVALUATION.allows(evaluation.state, "decline"):
        close(session, evaluation, "decline", actor, code)
        plan_evaluations(session, session.get_one(Benchmark, evaluation.benchmark_id))
