"""Marks on updates of a round that need not have been trained for: kept beside them, and nothing is refused by them."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.aggregation.fold import Update
from federation_hub.aggregation.free_riders import marks, measure
from federation_hub.services import Services
from federation_hub.studies.service import updates_of
from federation_hub.studies.tables import StudyRound, StudyUpdate
from silo_node.wire.course import Buffered
from silo_node.wire.privacy import SiloPrivacy
from silo_node.wire.studies import StudyPlan


def may_be_marked(plan: StudyPlan) -> bool:
    """Tell whether the hub sees single updates and may speak of their lengths.

    Where noise at the hub hides each silo's update, a mark would tell of it.
    """
    return plan.secure_aggregation is None and plan.decentralised is None and not isinstance(plan.privacy, SiloPrivacy)


def mark_updates(services: Services, found: StudyRound, plan: StudyPlan, updates: Sequence[Update]) -> None:
    """Measure a closed round's updates and note the marks; again with the same result where a round is folded again."""
    if not may_be_marked(plan) or not updates:
        return
    with services.database.reading() as session:
        before = None if isinstance(plan.schedule, Buffered) else _model_before(services, session, found)
        replayed = _replayed(session, found)
    noted = marks(measure(services.blobs.path(found.base_digest), before, updates, replayed))
    with services.database.session() as session:
        for row in updates_of(session, found):
            row.mark = noted.get(row.silo_id)


def _model_before(services: Services, session: Session, found: StudyRound) -> Path | None:
    """Return the global model before the one a round starts from, as long as it is kept."""
    made = select(StudyRound.base_digest).where(
        StudyRound.study_id == found.study_id, StudyRound.weights_digest == found.base_digest
    )
    digest = session.scalars(made.order_by(StudyRound.number.desc())).first()
    return services.blobs.path(digest) if digest is not None and services.blobs.has(digest) else None


def _replayed(session: Session, found: StudyRound) -> frozenset[str]:
    """Return the silos whose update has the bytes of an earlier one of theirs, for another global model."""
    now = {row.silo_id: row.digest for row in updates_of(session, found)}
    earlier = session.execute(
        select(StudyUpdate.silo_id, StudyUpdate.digest)
        .join(StudyRound)
        .where(StudyUpdate.study_id == found.study_id, StudyUpdate.number < found.number)
        .where(StudyRound.base_digest != found.base_digest, StudyUpdate.digest.is_not(None))
    )
    return frozenset(silo_id for silo_id, digest in earlier if now.get(silo_id) == digest)
