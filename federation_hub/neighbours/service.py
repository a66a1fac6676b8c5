"""Passing on: who is shown whose sealed model, and which reports of a decentralised round are refused."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.neighbours.tables import NeighbourKey
from federation_hub.silos.signed import open_signed
from federation_hub.stored import read_stored
from federation_hub.studies.tables import Study, StudyUpdate
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import WireError
from silo_node.wire.neighbours import Decentralised, Neighbour, SealedModel, SealingKey
from silo_node.wire.studies import RoundReport, StudyPlan

_SHOWN = ("verified", "folded")


def keep_key(session: Session, study_id: str, silo_id: str, envelope: Envelope | None) -> None:
    """Keep the sealing key a silo stated with its yes; a study with an aggregator needs none.

    Raises ``bad-envelope`` where it is not that silo's for this study, or not there although the plan needs it.
    """
    study = session.get_one(Study, study_id)
    if read_stored(StudyPlan, study.plan).decentralised is None:
        return
    if envelope is None:
        raise WireError("bad-envelope")
    stated = open_signed(session, silo_id, envelope, SealingKey)
    if (stated.study_id, stated.silo_id, stated.plan_digest) != (study_id, silo_id, study.plan_digest):
        raise WireError("bad-envelope")
    row = session.get(NeighbourKey, (study_id, silo_id)) or NeighbourKey(study_id=study_id, silo_id=silo_id)
    row.plan_digest, row.envelope = stated.plan_digest, envelope.model_dump(mode="json")
    session.add(row)


def shown_to(session: Session, study: Study, graph: Decentralised, silo_id: str, number: int) -> tuple[Neighbour, ...]:
    """Return what a silo is shown in a round: each neighbour's key and the model it sealed in the round before."""
    beside = graph.neighbours(silo_id)
    keys = session.scalars(
        select(NeighbourKey).where(NeighbourKey.study_id == study.id, NeighbourKey.silo_id.in_(beside))
    ).all()
    models = _models(session, study, beside, number - 1)
    return tuple(_neighbour(row, models) for row in sorted(keys, key=lambda row: row.silo_id))


def refusal_of(session: Session, report: RoundReport, plan: StudyPlan) -> str | None:
    """Return the code for which a report of a decentralised study is refused, or None."""
    if plan.decentralised is None:
        return None if report.exchange is None else "report-wrong-task"
    if report.exchange is None or (report.exchange.model is None) != (report.update is None):
        return "update-unsound"
    if not set(report.exchange.heard) <= set(plan.decentralised.neighbours(report.silo_id)):
        return "update-unsound"
    if report.exchange.model is None:
        return None
    stated = open_signed(session, report.silo_id, report.exchange.model, SealedModel)
    wanted = (report.study_id, report.silo_id, report.round, report.plan_digest, report.update)
    found = (stated.study_id, stated.silo_id, stated.round, stated.plan_digest, stated.sealed)
    return None if found == wanted else "update-unsound"


def _models(session: Session, study: Study, silos: tuple[str, ...], number: int) -> dict[str, Envelope]:
    rows = session.scalars(
        select(StudyUpdate)
        .where(StudyUpdate.study_id == study.id, StudyUpdate.number == number, StudyUpdate.state.in_(_SHOWN))
        .where(StudyUpdate.silo_id.in_(silos))
        .order_by(StudyUpdate.attempt)
    )
    reports = [read_stored(RoundReport, row.report) for row in rows if row.report is not None]
    return {report.silo_id: report.exchange.model for report in reports if report.exchange and report.exchange.model}


def _neighbour(row: NeighbourKey, models: dict[str, Envelope]) -> Neighbour:
    key, model = read_stored(Envelope, row.envelope), models.get(row.silo_id)
    if model is None:
        return Neighbour(silo_id=row.silo_id, key=key)
    sealed = SealedModel.model_validate_json(model.payload_bytes()).sealed
    return Neighbour(silo_id=row.silo_id, key=key, model=model, sealed=sealed)
