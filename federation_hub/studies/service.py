"""A study's life as people and silos decide it: created, agreed to, started, paused, stopped.

What the study does by itself, round after round, is in :mod:`federation_hub.studies.workflow`.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM, Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Organisation, Person
from federation_hub.associations.service import ask, end_all
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.service import referenced
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.evaluations.tasks import cancel
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Silo
from federation_hub.states import StateConflict
from federation_hub.stored import read_stored
from federation_hub.studies.baseline import is_baseline
from federation_hub.studies.fitting import require_fit
from federation_hub.studies.rules import ROUND, ROUND_TAKES_UPDATES, STUDY
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from federation_hub.studies.view import study_view
from silo_node.wire.canonical import message_digest
from silo_node.wire.envelope import PublicKey
from silo_node.wire.errors import BadInput, MedSiloError
from silo_node.wire.soundness import first_fault
from silo_node.wire.studies import StudyConsentRequest, StudyPlan

ONNX = "ONNX"
"""What the summary of a model of tier 2 names as its network."""

__all__ = [
    "change",
    "consent_decided",
    "consents_for",
    "create",
    "plan_of",
    "start",
    "study_of_id",
    "study_view",
]


def create(session: Session, plan: StudyPlan, *, actor: Actor) -> Study:
    """Create a study and ask each of its silos for consent.

    Raises ``benchmark-unknown``, ``model-unknown`` (also for a model of another organisation), ``model-not-accepted``,
    ``model-incompatible`` where the model was never put to that benchmark, ``plan-invalid`` for a silo that is not
    there, ``plan-masked-members`` for a key that is not the silo's present one, ``plan-fedbn-idle``,
    ``plan-baseline`` and the codes of
    :mod:`silo_node.wire.soundness`.
    """
    if actor.organisation_id is None:
        raise MedSiloError("not-permitted")
    if (fault := first_fault(plan)) is not None:
        raise BadInput(fault.code, fault.detail)
    benchmark = referenced(session, plan.benchmark)
    _require_model(session, plan, benchmark, actor)
    _require_silos(session, plan)
    _require_baseline(session, plan, actor)
    _require_keys(session, plan)
    study = Study(
        state="draft",
        plan=plan.model_dump(mode="json"),
        plan_digest=message_digest(plan),
        benchmark_id=benchmark.id,
        model_digest=plan.model.digest,
        owner_organisation_id=actor.organisation_id,
        owner_person_id=actor.id,
    )
    session.add(study)
    session.flush()
    record(session, actor, "study.create", study.id, None, "draft")
    for silo_id in plan.silos:
        ask(
            session,
            kind="silo-study",
            side="study",
            benchmark_id=benchmark.id,
            study_id=study.id,
            silo_id=silo_id,
            actor=actor,
        )
    move(session, study, "recruit", actor)
    return study


def consents_for(session: Session, silo_id: str, *, hub_public_key: PublicKey) -> tuple[StudyConsentRequest, ...]:
    """Return the studies that wait for this silo's yes or no, each with its whole plan."""
    rows = session.execute(
        select(Association, Study, Person.name, Organisation.name)
        .join(Study, Study.id == Association.study_id)
        .join(Person, Person.id == Study.owner_person_id)
        .join(Organisation, Organisation.id == Study.owner_organisation_id)
        .where(Association.kind == "silo-study", Association.silo_id == silo_id, Association.state == "requested")
        .where(Study.state.in_(("recruiting", "running", "paused")))
        .order_by(Association.created)
    )
    return tuple(
        StudyConsentRequest(
            association_id=association.id,
            study_id=study.id,
            requested_by=person,
            organisation=organisation,
            plan=plan_of(study),
            hub_public_key=hub_public_key,
        )
        for association, study, person, organisation in rows
    )


def consent_decided(session: Session, association: Association) -> None:
    """Act on a silo's decision: one that takes its consent back gets no more of the study's tasks.

    A silo that says yes to a running study joins its next round.
    """
    if association.state == "approved":
        return
    open_tasks = (
        select(StudyUpdate.task_id)
        .join(StudyRound)
        .where(StudyUpdate.study_id == association.study_id, StudyUpdate.silo_id == association.silo_id)
        .where(StudyRound.state.in_(ROUND_TAKES_UPDATES))
    )
    for task_id in session.scalars(open_tasks).all():
        cancel(session, task_id, code="policy-study")


def start(session: Session, study: Study, actor: Actor) -> None:
    """Set a recruiting study running; raises ``state-conflict`` while fewer silos than the quorum have agreed."""
    agreed = session.scalar(
        select(func.count())
        .select_from(Association)
        .where(Association.study_id == study.id, Association.state == "approved")
    )
    if (agreed or 0) < plan_of(study).quorum:
        raise StateConflict("fewer silos than the quorum have agreed")
    move(session, study, "start", actor)
    study.started = now()


def change(session: Session, study: Study, event: str, actor: Actor) -> None:
    """Pause, resume or stop a study.

    A pause lets the open round finish and opens no other. A stop abandons the open round and cancels its tasks; what
    was committed stays on record.
    """
    move(session, study, event, actor)
    if study.state == "stopped":
        for found in session.scalars(select(StudyRound).where(StudyRound.study_id == study.id)).all():
            if ROUND.allows(found.state, "abandon"):
                abandon(session, found, "study-stopped", actor)
        end_all(session, actor=actor, study_id=study.id)


def move(session: Session, study: Study, event: str, actor: Actor = SYSTEM, code: str | None = None) -> None:
    """Take a study through one transition and write it to the audit trail; raises ``state-conflict``."""
    before, study.state = study.state, STUDY.after(study.state, event)
    study.code = code
    if study.state in STUDY.final:
        study.finished = now()
    record(session, actor, f"study.{event}", study.id, before, study.state, code)


def abandon(session: Session, found: StudyRound, code: str, actor: Actor = SYSTEM) -> None:
    """Give a round up: its tasks are cancelled and nothing of it is folded."""
    move_round(session, found, "abandon", actor, code)
    found.finished = now()
    cancel_tasks(session, found, code, actor)


def move_round(session: Session, found: StudyRound, event: str, actor: Actor = SYSTEM, code: str | None = None) -> None:
    """Take a round through one transition and write it to the audit trail; raises ``state-conflict``."""
    before, found.state = found.state, ROUND.after(found.state, event)
    found.code = code
    if before != found.state:
        subject = f"{found.study_id}/{found.number}.{found.attempt}"
        record(session, actor, f"round.{event}", subject, before, found.state, code)


def cancel_tasks(session: Session, found: StudyRound, code: str, actor: Actor = SYSTEM) -> None:
    """Withdraw the tasks of a round that were not answered."""
    for row in updates_of(session, found):
        cancel(session, row.task_id, actor=actor, code=code)


def updates_of(session: Session, found: StudyRound) -> list[StudyUpdate]:
    """Return what each silo was asked in a round, by silo id."""
    rows = select(StudyUpdate).where(
        StudyUpdate.study_id == found.study_id,
        StudyUpdate.number == found.number,
        StudyUpdate.attempt == found.attempt,
    )
    return list(session.scalars(rows.order_by(StudyUpdate.silo_id)))


def study_of_id(session: Session, study_id: str) -> Study:
    """Return a study; raises ``study-unknown``."""
    study = session.get(Study, study_id)
    if study is None:
        raise MedSiloError("study-unknown")
    return study


def plan_of(study: Study) -> StudyPlan:
    """Return the plan everybody agreed to."""
    return read_stored(StudyPlan, study.plan)


def _require_model(session: Session, plan: StudyPlan, benchmark: Benchmark, actor: Actor) -> None:
    model = session.get(Model, plan.model.digest)
    if model is None or (model.owner_organisation_id != actor.organisation_id and "hub-admin" not in actor.roles):
        raise BadInput("model-unknown")
    if model.state != "accepted":
        raise BadInput("model-not-accepted")
    if model.size != plan.model.size:
        raise BadInput("plan-invalid", "the model has another size")
    summary = model.summary or {}
    if summary.get("network") == ONNX:
        raise BadInput("model-incompatible", "an ONNX model cannot be trained")
    if summary:
        require_fit(plan, summary["network"], summary["arguments"])
    on_benchmark = select(Association.id).where(
        Association.model_digest == model.digest, Association.benchmark_id == benchmark.id
    )
    if session.scalar(on_benchmark) is None:
        raise BadInput("model-incompatible")


def _require_silos(session: Session, plan: StudyPlan) -> None:
    known = select(Silo.id).where(Silo.id.in_(plan.silos), Silo.state.in_(("active", "suspended")))
    if set(plan.silos) - set(session.scalars(known)):
        raise BadInput("plan-invalid", "a silo is not there")


def _require_baseline(session: Session, plan: StudyPlan, actor: Actor) -> None:
    if plan.baseline is None:
        return
    other = session.get(Study, plan.baseline)
    if other is None or other.owner_organisation_id != actor.organisation_id:
        raise BadInput("plan-baseline", "there is no such study of your organisation")
    if not is_baseline(plan_of(other), plan):
        raise BadInput("plan-baseline", "it differs in more than the strategy")


def _require_keys(session: Session, plan: StudyPlan) -> None:
    """Every silo agrees to these very keys, so they must be the ones the silos sign with."""
    if plan.secure_aggregation is not None:
        rows = session.execute(select(Silo.id, Silo.public_key).where(Silo.id.in_(plan.silos)))
        known = {row.id: row.public_key for row in rows}
        if {member.silo_id: member.public_key for member in plan.secure_aggregation.members} != known:
            raise BadInput("plan-masked-members")
