"""Cohorts: a silo's signed statement that it holds frozen cases for a benchmark version."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Organisation
from federation_hub.associations.decisions import approve_by_rule, follow
from federation_hub.associations.service import ask, end_all
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.service import referenced
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.silos.tables import Cohort, Silo
from federation_hub.states import Machine
from federation_hub.stored import read_stored
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.cohorts import CohortCard, CohortRegistration
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import MedSiloError, WireError

COHORT = Machine("cohort", {"retire": {"registered": "retired"}})


def card_fits(card: CohortCard, definition: BenchmarkDefinition) -> bool:
    """Tell whether a card is one for this benchmark: its task, its modality, one band for each class."""
    bands = len(definition.labels) if definition.task == "classification" else 0
    return card.task == definition.task and card.modality == definition.modality and len(card.classes) == bands


def register(
    session: Session, registration: CohortRegistration, envelope: Envelope, actor: Actor
) -> tuple[Cohort, Association]:
    """Register a cohort and ask for its association; registering the same one again changes nothing.

    A silo has one cohort a benchmark version: a new one retires the one before. Raises ``benchmark-unknown``,
    ``malformed-message`` where the card is none for that benchmark, ``cohort-too-small`` without a single case.
    """
    benchmark = referenced(session, registration.benchmark)
    definition = read_stored(BenchmarkDefinition, benchmark.definition)
    if not card_fits(registration.card, definition):
        raise WireError("malformed-message")
    if registration.training_cases + registration.validation_cases + registration.test_cases == 0:
        raise MedSiloError("cohort-too-small")
    known = select(Cohort).where(Cohort.silo_id == actor.id, Cohort.fingerprint == registration.fingerprint)
    cohort = session.scalar(known)
    _note_publication(session, registration, actor)
    if cohort is None:
        _retire_earlier(session, benchmark, actor)
        cohort = _add(session, registration, envelope, benchmark, actor)
    elif cohort.state == "retired":
        raise MedSiloError("state-conflict")
    return cohort, _associate(session, cohort, benchmark, definition, actor)


def retire(session: Session, cohort: Cohort, actor: Actor) -> None:
    """Retire a cohort: its associations end and its unclaimed work is cancelled; past results stay."""
    before, cohort.state = cohort.state, COHORT.after(cohort.state, "retire")
    record(session, actor, "cohort.retire", cohort.id, before, cohort.state)
    end_all(session, actor=actor, cohort_id=cohort.id)
    for association in session.scalars(select(Association).where(Association.cohort_id == cohort.id)):
        follow(session, association)


def cohort_of(session: Session, cohort_id: str, silo_id: str) -> Cohort:
    """Return a silo's own cohort; raises ``cohort-unknown``."""
    cohort = session.get(Cohort, cohort_id)
    if cohort is None or cohort.silo_id != silo_id:
        raise MedSiloError("cohort-unknown")
    return cohort


def _note_publication(session: Session, registration: CohortRegistration, actor: Actor) -> None:
    silo = session.get_one(Silo, actor.id)
    if silo.publication != registration.publication:
        record(session, actor, "silo.publish", silo.id, silo.publication, registration.publication)
        silo.publication = registration.publication


def _retire_earlier(session: Session, benchmark: Benchmark, actor: Actor) -> None:
    earlier = select(Cohort).where(
        Cohort.silo_id == actor.id, Cohort.benchmark_id == benchmark.id, Cohort.state == "registered"
    )
    for cohort in session.scalars(earlier).all():
        retire(session, cohort, actor)


def _add(
    session: Session, registration: CohortRegistration, envelope: Envelope, benchmark: Benchmark, actor: Actor
) -> Cohort:
    cohort = Cohort(
        silo_id=actor.id,
        benchmark_id=benchmark.id,
        fingerprint=registration.fingerprint,
        state="registered",
        training_cases=registration.training_cases,
        validation_cases=registration.validation_cases,
        test_cases=registration.test_cases,
        card=registration.card.model_dump(mode="json"),
        registration=envelope.model_dump(mode="json"),
    )
    session.add(cohort)
    session.flush()
    record(session, actor, "cohort.register", cohort.id, None, "registered")
    return cohort


def _associate(
    session: Session, cohort: Cohort, benchmark: Benchmark, definition: BenchmarkDefinition, actor: Actor
) -> Association:
    association = ask(
        session,
        kind="cohort-benchmark",
        side="cohort",
        benchmark_id=benchmark.id,
        cohort_id=cohort.id,
        silo_id=cohort.silo_id,
        actor=actor,
    )
    organisation = session.get(Organisation, actor.organisation_id)
    listed = organisation is not None and organisation.name in definition.approve_cohorts_of
    if definition.auto_approve_cohorts or listed:
        approve_by_rule(session, association)
    return association
