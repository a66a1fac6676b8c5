"""Models: submitted or made by a study, judged statically, offered to benchmarks, withdrawn by their owner."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM, Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Organisation
from federation_hub.associations.decisions import approve_by_rule
from federation_hub.associations.service import ask, end_all
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.entries.service import forget
from federation_hub.evaluations.service import plan_evaluations
from federation_hub.models.inspection import Summary, judge_bundle
from federation_hub.models.tables import Model
from federation_hub.services import Services
from federation_hub.states import Machine
from federation_hub.storage.tables import Upload
from federation_hub.stored import read_stored
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import MedSiloError
from silo_node.wire.models import ModelCard
from silo_node.wire.transfers import BlobReference

MODEL = Machine(
    "model",
    {
        "check": {"received": "checking", "checking": "checking", "rejected": "checking"},
        "accept": {"checking": "accepted"},
        "reject": {"checking": "rejected"},
        "withdraw": {"accepted": "withdrawn"},
    },
)


def receive(
    session: Session,
    *,
    bundle: BlobReference,
    card: ModelCard,
    actor: Actor,
    monthly: int | None = None,
    version_of: str | None = None,
) -> Model:
    """Note a submission and take it to ``checking``; an accepted one of the same owner is returned as it is.

    ``monthly`` is how many different models an organisation may submit in a month. Raises ``budget-exceeded`` beyond
    it, ``not-found`` where this owner never finished uploading those bytes (a digest is public, so knowing it proves
    nothing), ``already-exists`` where they are another owner's model, ``state-conflict`` where withdrawn;
    ``model-unknown``, ``model-not-newest`` or ``model-name-differs`` for what is no new version of ``version_of``.
    """
    if actor.organisation_id is None:
        raise MedSiloError("not-permitted")
    _require_upload(session, bundle, actor)
    version = _next_version(session, version_of, card, bundle.digest, actor)
    model = session.get(Model, bundle.digest)
    if model is None:
        _require_budget(session, actor.organisation_id, monthly)
        model = _add(session, bundle, card, actor.organisation_id, actor.id, None)
        record(session, actor, "model.receive", model.digest, None, model.state)
    elif model.owner_organisation_id != actor.organisation_id and model.state != "rejected":
        raise MedSiloError("already-exists")
    if model.state == "accepted":
        return model
    move(session, model, "check", actor)
    model.owner_organisation_id, model.owner_person_id = actor.organisation_id, actor.id
    model.card, model.code = card.model_dump(mode="json"), None
    model.version, model.version_of = version, version_of
    return model


def note_summary(model: Model, summary: Summary) -> None:
    """Keep what a static look at a bundle has found."""
    model.summary = summary.as_json()


def accept(session: Session, model: Model, summary: Summary) -> None:
    """Accept a model whose bundle was judged sound."""
    note_summary(model, summary)
    move(session, model, "accept", SYSTEM)


def reject(session: Session, model: Model, code: str) -> None:
    """Reject a model for a coded reason, which its owner can read."""
    model.code = code
    move(session, model, "reject", SYSTEM, code)
    forget(session, model.digest, SYSTEM)


def register(
    session: Session,
    services: Services,
    *,
    bundle: BlobReference,
    card: ModelCard,
    owner_organisation: str,
    owner_person: str,
    lineage: dict[str, Any] | None,
) -> str:
    """Register a bundle the hub made itself (a study's final model) and return its digest.

    Registering the same bundle again changes nothing. Raises ``BadInput`` with the bundle's code where it is unsound.
    """
    model = session.get(Model, bundle.digest)
    if model is not None:
        return model.digest
    summary = judge_bundle(services.blobs.path(bundle.digest), None)
    model = _add(session, bundle, card, owner_organisation, owner_person, lineage)
    record(session, SYSTEM, "model.receive", model.digest, None, model.state)
    move(session, model, "check", SYSTEM)
    accept(session, model, summary)
    return model.digest


def associate(session: Session, digest: str, benchmark: Benchmark, *, actor: Actor) -> Association:
    """Ask for a model's place on a benchmark, given at once where the benchmark approves by rule.

    Raises ``model-not-accepted``.
    """
    model = model_of_digest(session, digest)
    if model.state != "accepted":
        raise MedSiloError("model-not-accepted")
    association = ask(
        session, kind="model-benchmark", side="model", benchmark_id=benchmark.id, model_digest=digest, actor=actor
    )
    definition = read_stored(BenchmarkDefinition, benchmark.definition)
    organisation = session.get_one(Organisation, model.owner_organisation_id).name
    if definition.auto_approve_models or organisation in definition.approve_models_of:
        approve_by_rule(session, association)
    return association


def withdraw(session: Session, model: Model, actor: Actor) -> list[Benchmark]:
    """Withdraw a model: no new evaluation takes it; return the benchmarks whose boards change."""
    move(session, model, "withdraw", actor)
    concerned = select(Benchmark).join(Association).where(Association.model_digest == model.digest)
    benchmarks = list(session.scalars(concerned).unique())
    end_all(session, actor=actor, model_digest=model.digest)
    for benchmark in benchmarks:
        plan_evaluations(session, benchmark)
    return benchmarks


def model_of_digest(session: Session, digest: str) -> Model:
    """Return a model; raises ``model-unknown``."""
    model = session.get(Model, digest)
    if model is None:
        raise MedSiloError("model-unknown")
    return model


def move(session: Session, model: Model, event: str, actor: Actor, reason: str | None = None) -> None:
    """Take a model through one transition and write it to the audit trail; raises ``state-conflict``."""
    before, model.state = model.state, MODEL.after(model.state, event)
    record(session, actor, f"model.{event}", model.digest, before, model.state, reason)


def _next_version(session: Session, earlier: str | None, card: ModelCard, digest: str, actor: Actor) -> int:
    if earlier is None:
        return 1
    before = session.get(Model, earlier)
    if before is None or before.owner_organisation_id != actor.organisation_id or earlier == digest:
        raise MedSiloError("model-unknown")
    if before.card["name"] != card.name:
        raise MedSiloError("model-name-differs")
    follow = select(Model.digest).where(Model.version_of == earlier, Model.digest != digest, Model.state != "rejected")
    if session.scalar(follow) is not None:
        raise MedSiloError("model-not-newest")
    return before.version + 1


def _require_upload(session: Session, bundle: BlobReference, actor: Actor) -> None:
    mine = select(Upload.id).where(
        Upload.digest == bundle.digest,
        Upload.size == bundle.size,
        Upload.state == "complete",
        Upload.organisation_id == actor.organisation_id,
    )
    if session.scalar(mine) is None:
        raise MedSiloError("not-found")


def _require_budget(session: Session, organisation: str, monthly: int | None) -> None:
    month = now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    own = select(Model.lineage).where(Model.owner_organisation_id == organisation, Model.created >= month)
    # What a study made was not submitted.
    submitted = sum(lineage is None for lineage in session.scalars(own))
    if monthly is not None and submitted >= monthly:
        raise MedSiloError("budget-exceeded")


def _add(
    session: Session,
    bundle: BlobReference,
    card: ModelCard,
    organisation: str,
    person: str,
    lineage: dict[str, Any] | None,
) -> Model:
    model = Model(
        digest=bundle.digest,
        size=bundle.size,
        state="received",
        card=card.model_dump(mode="json"),
        lineage=lineage,
        owner_organisation_id=organisation,
        owner_person_id=person,
    )
    session.add(model)
    session.flush()
    return model
