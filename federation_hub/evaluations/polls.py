"""What a silo's question for work needs to know, in one look at the database: most answers are "nothing, come back"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session

from federation_hub.associations.tables import Association
from federation_hub.evaluations.rules import LEASED, Activity
from federation_hub.evaluations.tables import Task
from federation_hub.silos.tables import Silo
from federation_hub.studies.tables import Study


@dataclass(frozen=True, slots=True)
class Poll:
    """Where a silo stands when it asks."""

    work: bool
    """A claim could change something: a task to hand out, or a lease of the silo's that ran out."""

    asked: bool
    """A study waits for the silo's consent."""

    last_seen: datetime | None
    activity: Activity


def look(session: Session, silo_id: str, kinds: Sequence[str], at: datetime) -> Poll:
    """Return where a silo stands, by one query, so that idle silos cost little and stay away from the write lock."""
    mine = Task.silo_id == silo_id
    offered = (Task.state == "offered") & Task.kind.in_(kinds) & (Task.available_from <= at)
    lapsed = Task.state.in_(LEASED) & (Task.lease_until <= at)
    studies = exists().where(Association.silo_id == silo_id, Association.study_id == Study.id)
    work, asked, last_seen, in_study, last_change, silos = session.execute(
        select(
            exists().where(mine, or_(offered, lapsed)).label("work"),
            studies.where(Association.state == "requested").label("asked"),
            select(Silo.last_seen).where(Silo.id == silo_id).scalar_subquery(),
            studies.where(Association.state == "approved", Study.state == "running").label("in_study"),
            select(func.max(Task.touched)).where(mine).scalar_subquery(),
            select(func.count()).select_from(Silo).where(Silo.state == "active").scalar_subquery(),
        )
    ).one()
    return Poll(work, asked, last_seen, Activity(in_study=in_study, last_change=last_change, silos=silos))
