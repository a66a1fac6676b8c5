"""Saying yes or no, and what follows from it."""

from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM, Actor
from federation_hub.associations.service import Consent, event_of, judge_decision, move
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.service import plan_evaluations
from federation_hub.studies.service import consent_decided
from silo_node.wire.errors import MedSiloError, PolicyRefusal


def decide(
    session: Session, association: Association, *, approve: bool, actor: Actor, reason: str | None = None
) -> None:
    """Answer a request, or end what was approved; raises ``same-side``, ``not-found`` or ``state-conflict``."""
    refusal = judge_decision(consent_of(session, association), actor, approve=approve)
    if refusal is not None:
        raise PolicyRefusal(refusal)
    move(session, association, event_of(association.state, approve=approve), actor, reason)
    follow(session, association)


def approve_by_rule(session: Session, association: Association) -> None:
    """Approve in the name of a benchmark whose owner published it with automatic approval."""
    if association.state == "requested":
        move(session, association, "approve", SYSTEM)
        follow(session, association)


def follow(session: Session, association: Association) -> None:
    """Do what a changed consent asks for: plan or cancel evaluations, or tell the study."""
    session.flush()
    if association.kind == "silo-study":
        consent_decided(session, association)
    else:
        plan_evaluations(session, session.get_one(Benchmark, association.benchmark_id))


def consent_of(session: Session, association: Association) -> Consent:
    """Return what decides who may answer."""
    return Consent(
        kind=association.kind,
        requested_by=association.requested_by,
        requested_organisation_id=association.requested_organisation_id,
        benchmark_organisation_id=session.get_one(Benchmark, association.benchmark_id).owner_organisation_id,
        silo_id=association.silo_id,
    )


def association_of_id(session: Session, association_id: str) -> Association:
    """Return an association; raises ``not-found``."""
    association = session.get(Association, association_id)
    if association is None:
        raise MedSiloError("not-found")
    return association
