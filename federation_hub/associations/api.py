"""Routes of consent: a person's decisions, and a silo's signed ones."""

from collections.abc import Mapping, Sequence

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.api import PERSON, SILO, current_actor, route
from federation_hub.associations.decisions import association_of_id, benchmarks_of, concerning, consent_about, decide
from federation_hub.associations.messages import AssociationList, AssociationRecord, Decision
from federation_hub.associations.service import judge_decision
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.neighbours.service import keep_key
from federation_hub.paging import PageQuery, page
from federation_hub.services import services
from federation_hub.silos.signed import open_signed
from federation_hub.silos.tables import Cohort
from silo_node.wire.cohorts import AssociationDecision, AssociationView
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import MedSiloError, WireError
from silo_node.wire.tasks import SiloAssociations

blueprint = Blueprint("associations", __name__)


@route(blueprint, "GET", "/associations", query=PageQuery, returns=AssociationList, roles=PERSON)
def associations(query: PageQuery) -> AssociationList:
    """List what was asked of this person's side, or by it, the oldest first."""
    actor = current_actor()
    with services().database.reading() as session:
        found = page(session, concerning(actor), query, Association.created, Association.id)
        benchmarks = benchmarks_of(session, found.rows)
        rows = tuple(_record(row, benchmarks[row.benchmark_id], actor) for row in found.rows)
    return AssociationList(associations=rows, next=found.next)


@route(
    blueprint,
    "POST",
    "/associations/<association_id>/decision",
    body=Decision,
    returns=AssociationRecord,
    roles={"benchmark-owner", "hub-admin", "researcher"},
)
def decide_as_person(association_id: str, body: Decision) -> AssociationRecord:
    """Say yes or no to what the other side asked, or take back what one's own side asked."""
    actor = current_actor()
    with services().database.session() as session:
        association = association_of_id(session, association_id)
        decide(session, association, approve=body.approve, actor=actor, reason=body.reason)
        return _record(association, session.get_one(Benchmark, association.benchmark_id), actor)


@route(blueprint, "GET", "/silo/associations", query=PageQuery, returns=SiloAssociations, roles=SILO)
def silo_associations(query: PageQuery) -> SiloAssociations:
    """List everything that was asked of the silo, or by it, the oldest first."""
    mine = select(Association).where(Association.silo_id == current_actor().id)
    with services().database.reading() as session:
        found = page(session, mine, query, Association.created, Association.id)
        return SiloAssociations(associations=views(session, found.rows), next=found.next)


@route(
    blueprint,
    "POST",
    "/silo/associations/<association_id>/decision",
    body=Envelope,
    returns=AssociationView,
    roles=SILO,
)
def decide_as_silo(association_id: str, body: Envelope) -> AssociationView:
    """Take a silo's signed yes or no; a no to what was approved ends it."""
    actor = current_actor()
    with services().database.session() as session:
        decision = open_signed(session, actor.id, body, AssociationDecision)
        if decision.association_id != association_id:
            raise WireError("bad-envelope")
        association = association_of_id(session, association_id)
        if association.silo_id != actor.id:
            raise MedSiloError("not-found")
        if decision.approve and association.study_id is not None:
            keep_key(session, association.study_id, actor.id, decision.sealing_key)
            association.levels = None if decision.levels is None else list(decision.levels)
        decide(session, association, approve=decision.approve, actor=actor, reason=decision.reason)
        return views(session, [association])[0]


def views(session: Session, rows: Sequence[Association]) -> tuple[AssociationView, ...]:
    """Return associations as the silo sees them; the subject is a cohort's fingerprint or a study's id."""
    benchmarks = benchmarks_of(session, rows)
    wanted = select(Cohort.id, Cohort.fingerprint).where(Cohort.id.in_({row.cohort_id for row in rows}))
    prints = dict(session.execute(wanted).all())
    return tuple(_view(row, benchmarks[row.benchmark_id], prints) for row in rows)


def _view(row: Association, benchmark: Benchmark, prints: Mapping[str, str]) -> AssociationView:
    subject = row.study_id or ""
    return AssociationView.model_validate(
        {
            "association_id": row.id,
            "kind": row.kind,
            "state": row.state,
            "benchmark": benchmark.name,
            "benchmark_version": benchmark.version,
            "subject": subject if row.cohort_id is None else prints[row.cohort_id],
        }
    )


def _record(association: Association, benchmark: Benchmark, actor: Actor) -> AssociationRecord:
    refusal = judge_decision(consent_about(association, benchmark), actor, approve=True)
    return AssociationRecord.model_validate(
        {
            "association_id": association.id,
            "kind": association.kind,
            "state": association.state,
            "benchmark": benchmark.name,
            "benchmark_version": benchmark.version,
            "subject": association.cohort_id or association.model_digest or association.study_id,
            "silo_id": association.silo_id,
            "requested_side": association.requested_side,
            "may_approve": refusal is None and association.state == "requested",
            "reason": association.reason,
            "created": association.created,
            "decided": association.decided,
        }
    )
