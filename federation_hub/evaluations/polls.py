"""What a silo's question for work needs to know, in one look at the database: most answers are "nothing, come back"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, String, bindparam, exists, func, or_, select
from sqlalchemy.orm import Session

from federation_hub.associations.tables import Association
from federation_hub.db import UtcDateTime
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

    activity: Activity


def look(session: Session, silo_id: str, kinds: Sequence[str], at: datetime) -> Poll:
    """Return where a silo stands, by one query, so that idle silos cost little and stay away from the write lock."""
    row = session.execute(_LOOK, {"silo": silo_id, "kinds": list(kinds), "at": at}).one()
    return Poll(row.work, row.asked, Activity(in_study=row.in_study, last_change=row.last_change, silos=row.silos))


def _where_a_silo_stands() -> Select[tuple[bool, bool, bool, datetime | None, int]]:
    silo, at = bindparam("silo", type_=String), bindparam("at", type_=UtcDateTime)
    mine = Task.silo_id == silo
    offered = (
        (Task.state == "offered") & Task.kind.in_(bindparam("kinds", expanding=True)) & (Task.available_from <= at)
    )
    lapsed = Task.state.in_(LEASED) & (Task.lease_until <= at)
    studies = exists().where(Association.silo_id == silo, Association.study_id == Study.id)
    return select(
        exists().where(mine, or_(offered, lapsed)).label("work"),
        studies.where(Association.state == "requested").label("asked"),
        studies.where(Association.state == "approved", Study.state == "running").label("in_study"),
        select(func.max(Task.touched)).where(mine).scalar_subquery().label("last_change"),
        select(func.count()).select_from(Silo).where(Silo.state == "active").scalar_subquery().label("silos"),
    )


# Made once: putting a query together takes longer than the database takes to answer it.
_LOOK = _where_a_silo_stands()
