"""Saying yes or no, and what follows from it."""

from collections.abc import Sequence

from sqlalchemy import Select, or_, select
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
    return consent_about(association, session.get_one(Benchmark, association.benchmark_id))


def consent_about(association: Association, benchmark: Benchmark) -> Consent:
    """Return the same where the benchmark is at hand."""
    return Consent(
        kind=association.kind,
        requested_by=association.requested_by,
        requested_organisation_id=association.requested_organisation_id,
        benchmark_organisation_id=benchmark.owner_organisation_id,
        silo_id=association.silo_id,
    )


def concerning(actor: Actor) -> Select[Association]:
    """Select what was asked of a person's side, or by it; everything for the hub's admin."""
    if "hub-admin" in actor.roles:
        return select(Association)
    home = actor.organisation_id
    ours = select(Benchmark.id).where(Benchmark.owner_organisation_id == home)
    return select(Association).where(
        or_(Association.requested_organisation_id == home, Association.benchmark_id.in_(ours))
    )


def benchmarks_of(session: Session, rows: Sequence[Association]) -> dict[str, Benchmark]:
    """Return the benchmarks of associations by id."""
    wanted = {row.benchmark_id for row in rows}
    return {row.id: row for row in session.scalars(select(Benchmark).where(Benchmark.id.in_(wanted)))}


def association_of_id(session: Session, association_id: str) -> Association:
    """Return an association; raises ``not-found``."""
    association = session.get(Association, association_id)
    if association is None:
        raise MedSiloError("not-found")
    return association
