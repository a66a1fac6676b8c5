"""Asynchronous studies (FedBuff, Nguyen et al. 2022): work that goes on while the global model moves on.

A round here is one filling of the buffer. A silo that is still training when it is full is not called off: what it is
asked moves to the next round, and its update counts there, discounted by how old its model is.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM
from federation_hub.db import now
from federation_hub.evaluations.tables import Task
from federation_hub.evaluations.tasks import cancel
from federation_hub.studies.reports import move_update
from federation_hub.studies.service import move_round, updates_of
from federation_hub.studies.tables import StudyRound, StudyUpdate
from silo_node.wire.course import Buffered
from silo_node.wire.studies import StudyPlan

_AT_WORK = ("claimed", "running", "reported")


def carry_over(session: Session, found: StudyRound, plan: StudyPlan) -> frozenset[str]:
    """Move what silos are still working on, or answered between two rounds, to this one; return these silos."""
    if not isinstance(plan.schedule, Buffered):
        return frozenset()
    carried = []
    for row, task in _unfolded(session, found):
        waiting = row.state == "receiving" and row.received is not None
        fresh = (row.started or row.number) >= found.number - plan.schedule.max_staleness
        wanted = waiting or row.state == "verified" or task.state in _AT_WORK
        if found.validate_only or not fresh or not wanted:
            cancel(session, row.task_id, code="update-stale")
            move_update(session, row, "late", SYSTEM, "update-stale")
            continue
        row.number, row.attempt = found.number, found.attempt
        session.flush()
        if waiting:
            move_update(session, row, "verify", SYSTEM)
        carried.append(row.silo_id)
    return frozenset(carried)


def close_buffer(session: Session, found: StudyRound, verdict: str) -> None:
    """Close a round without calling off anybody who is at work; what nobody has begun is offered afresh next time."""
    for row in updates_of(session, found):
        if session.get_one(Task, row.task_id).state == "offered":
            cancel(session, row.task_id, code="update-stale")
    if verdict == "close":
        move_round(session, found, "close")
    else:
        move_round(session, found, "abandon", code="quorum-missed")
        found.finished = now()


def standing_rounds(session: Session, study_id: str) -> dict[str, int]:
    """Return for each silo the last round, by its own count, whose update is part of the present global model."""
    rows = session.execute(
        select(StudyUpdate.silo_id, StudyUpdate.number, StudyUpdate.started)
        .join(StudyRound)
        .where(StudyUpdate.study_id == study_id, StudyUpdate.state == "folded", StudyRound.state == "committed")
        .order_by(StudyUpdate.number)
    )
    return {silo_id: number if started is None else started for silo_id, number, started in rows}


def _unfolded(session: Session, found: StudyRound) -> list[tuple[StudyUpdate, Task]]:
    """Return what earlier rounds asked and have not counted, by silo id."""
    rows = session.execute(
        select(StudyUpdate, Task, StudyRound.state)
        .join(Task, Task.id == StudyUpdate.task_id)
        .join(StudyRound)
        .where(StudyUpdate.study_id == found.study_id, StudyRound.state.in_(("committed", "abandoned")))
        .where(StudyUpdate.state.in_(("expected", "receiving", "verified")))
        .order_by(StudyUpdate.silo_id)
    ).all()
    return [(row, task) for row, task, state in rows if row.state != "verified" or state == "abandoned"]
