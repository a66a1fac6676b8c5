"""The rules of consent, and asking for it. What a decision leads to is in ``decisions``."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM, Actor
from federation_hub.accounts.audit import record
from federation_hub.associations.tables import Association
from federation_hub.db import now
from federation_hub.states import Machine

Kind = Literal["cohort-benchmark", "model-benchmark", "silo-study"]
Side = Literal["cohort", "model", "benchmark", "study", "silo"]
ASSOCIATION = Machine(
    "association",
    {
        "approve": {"requested": "approved"},
        "decline": {"requested": "declined"},
        "end": {"approved": "ended"},
        "ask": {"declined": "requested", "ended": "requested"},
    },
)


@dataclass(frozen=True, slots=True)
class Consent:
    """What decides who may answer: who asked, for which side, and who stands on the other one."""

    kind: str
    requested_by: str
    requested_organisation_id: str | None
    benchmark_organisation_id: str
    silo_id: str | None

    def asked_by(self, actor: Actor) -> bool:
        """Tell whether the actor is the one who asked, or of the organisation that asked.

        For a study the silo itself decides, with its own key, even where a researcher of its hospital asks.
        """
        colleagues = self.kind != "silo-study" and actor.organisation_id == self.requested_organisation_id
        return actor.id == self.requested_by or colleagues

    def decided_by(self, actor: Actor) -> bool:
        """Tell whether the actor speaks for the side that was asked."""
        if self.kind == "silo-study":
            return actor.kind == "silo" and actor.id == self.silo_id
        owner = "benchmark-owner" in actor.roles and actor.organisation_id == self.benchmark_organisation_id
        return owner or "hub-admin" in actor.roles


def judge_decision(consent: Consent, actor: Actor, *, approve: bool) -> str | None:
    """Return why an actor may not decide, or None: whoever asked can take it back but cannot approve."""
    if consent.asked_by(actor):
        return "same-side" if approve else None
    return None if consent.decided_by(actor) else "not-found"


def event_of(state: str, *, approve: bool) -> str:
    """Return what a yes or a no means in a state: a no to what is approved ends it."""
    if approve:
        return "approve"
    return "end" if state == "approved" else "decline"


def ask(
    session: Session,
    *,
    kind: Kind,
    side: Side,
    benchmark_id: str,
    actor: Actor,
    cohort_id: str | None = None,
    model_digest: str | None = None,
    study_id: str | None = None,
    silo_id: str | None = None,
) -> Association:
    """Ask for a consent; one that was declined or ended is asked for again, one that stands is returned as it is."""
    subject = {"cohort_id": cohort_id, "model_digest": model_digest, "study_id": study_id, "silo_id": silo_id}
    found = session.scalar(select(Association).filter_by(kind=kind, benchmark_id=benchmark_id, **subject))
    if found is not None:
        if ASSOCIATION.allows(found.state, "ask"):
            move(session, found, "ask", actor)
            found.requested_by, found.requested_organisation_id = actor.id, actor.organisation_id
        return found
    association = Association(
        kind=kind,
        state="requested",
        benchmark_id=benchmark_id,
        requested_side=side,
        requested_by=actor.id,
        requested_organisation_id=actor.organisation_id,
        **subject,
    )
    session.add(association)
    session.flush()
    record(session, actor, "association.ask", association.id, None, "requested")
    return association


def move(session: Session, association: Association, event: str, actor: Actor, reason: str | None = None) -> None:
    """Take an association through one transition and write it to the audit trail; raises ``state-conflict``."""
    before, association.state = association.state, ASSOCIATION.after(association.state, event)
    association.decided = now() if association.state != "requested" else None
    association.decided_by = actor.id if association.state != "requested" else None
    association.reason = reason
    record(session, actor, f"association.{event}", association.id, before, association.state, reason)


def end_all(session: Session, *, actor: Actor = SYSTEM, **subject: str) -> None:
    """End or decline whatever stands for a subject that is withdrawn or retired."""
    for association in session.scalars(select(Association).filter_by(**subject)):
        event = event_of(association.state, approve=False)
        if ASSOCIATION.allows(association.state, event):
            move(session, association, event, actor)
