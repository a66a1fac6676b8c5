"""Routes of consent: a person's decisions, and a silo's signed ones."""

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.api import PERSON, SILO, current_actor, route
from federation_hub.associations.decisions import association_of_id, consent_of, decide
from federation_hub.associations.messages import AssociationList, AssociationRecord, Decision
from federation_hub.associations.service import judge_decision
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import hold
from federation_hub.neighbours.service import keep_key
from federation_hub.services import services
from federation_hub.silos.signed import open_signed
from federation_hub.silos.tables import Cohort
from silo_node.wire.cohorts import AssociationDecision, AssociationView
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import MedSiloError, WireError
from silo_node.wire.tasks import SiloAssociations

blueprint = Blueprint("associations", __name__)


@route(blueprint, "GET", "/associations", returns=AssociationList, roles=PERSON)
def associations() -> AssociationList:
    """List what was asked of this person's side, or by it."""
    actor = current_actor()
    with services().database.reading() as session:
        hold(session, Benchmark)
        rows = session.scalars(select(Association).order_by(Association.created)).all()
        seen = [row for row in rows if _concerns(session, row, actor)]
        return AssociationList(associations=tuple(_record(session, row, actor) for row in seen))


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
        return _record(session, association, actor)


@route(blueprint, "GET", "/silo/associations", returns=SiloAssociations, roles=SILO)
def silo_associations() -> SiloAssociations:
    """List everything that was asked of the silo, or by it."""
    with services().database.reading() as session:
        mine = select(Association).where(Association.silo_id == current_actor().id).order_by(Association.created)
        return SiloAssociations(associations=tuple(view(session, row) for row in session.scalars(mine)))


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
        decide(session, association, approve=decision.approve, actor=actor, reason=decision.reason)
        return view(session, association)


def view(session: Session, association: Association) -> AssociationView:
    """Return an association as the silo sees it; its subject is a cohort's fingerprint or a study's id."""
    benchmark = session.get_one(Benchmark, association.benchmark_id)
    subject = association.study_id or ""
    if association.cohort_id is not None:
        subject = session.get_one(Cohort, association.cohort_id).fingerprint
    return AssociationView.model_validate(
        {
            "association_id": association.id,
            "kind": association.kind,
            "state": association.state,
            "benchmark": benchmark.name,
            "benchmark_version": benchmark.version,
            "subject": subject,
        }
    )


def _concerns(session: Session, association: Association, actor: Actor) -> bool:
    consent = consent_of(session, association)
    sides = (consent.requested_organisation_id, consent.benchmark_organisation_id)
    return "hub-admin" in actor.roles or actor.organisation_id in sides


def _record(session: Session, association: Association, actor: Actor) -> AssociationRecord:
    benchmark = session.get_one(Benchmark, association.benchmark_id)
    refusal = judge_decision(consent_of(session, association), actor, approve=True)
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
