"""Routes of models."""

from collections import defaultdict
from collections.abc import Sequence

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.tables import Organisation
from federation_hub.api import PERSON, current_actor, route
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import hold
from federation_hub.entries import service as entries
from federation_hub.entries.tables import Entry
from federation_hub.evaluations.boards import refresh_boards
from federation_hub.models import service
from federation_hub.models.messages import ModelList, ModelPlace, ModelRecord, OfBenchmark
from federation_hub.models.submission import submit
from federation_hub.models.tables import Model
from federation_hub.services import services
from federation_hub.stored import read_stored
from silo_node.wire.errors import MedSiloError
from silo_node.wire.models import ModelCard, ModelSubmission

blueprint = Blueprint("models", __name__)
Place = tuple[Association, Benchmark, Entry | None]


@route(blueprint, "POST", "/models", body=ModelSubmission, returns=ModelRecord, status=201, roles={"researcher"})
def submit_model(body: ModelSubmission) -> ModelRecord:
    """Submit an uploaded bundle to a benchmark: it is judged before the answer, and refused with the reason's code.

    Where the operator has a check node for the benchmark, the model is ``checking`` until that node has run it.
    """
    hub = services()
    digest = submit(hub, body, current_actor())
    with hub.database.reading() as session:
        return _record(session, service.model_of_digest(session, digest))


@route(blueprint, "GET", "/models", query=OfBenchmark, returns=ModelList, roles=PERSON)
def models(query: OfBenchmark) -> ModelList:
    """List the models a person may see, newest first."""
    with services().database.reading() as session:
        rows = session.scalars(select(Model).order_by(Model.created.desc())).all()
        hidden = entries.hidden_models(session)
        hold(session, Organisation)
        records = _records(session, [row for row in rows if _may_see(row, current_actor(), hidden)])
    named = query.benchmark
    return ModelList(
        models=tuple(
            entry for entry in records if named is None or any(place.benchmark == named for place in entry.benchmarks)
        )
    )


@route(blueprint, "GET", "/models/<digest>", returns=ModelRecord, roles=PERSON)
def model(digest: str) -> ModelRecord:
    """Return one model."""
    with services().database.reading() as session:
        row = service.model_of_digest(session, digest)
        if not _may_see(row, current_actor(), entries.hidden_models(session)):
            raise MedSiloError("model-unknown")
        return _record(session, row)


@route(blueprint, "POST", "/models/<digest>/withdraw", returns=ModelRecord, roles={"researcher", "hub-admin"})
def withdraw_model(digest: str) -> ModelRecord:
    """Withdraw a model of one's own organisation; its past results stay on record."""
    actor, hub = current_actor(), services()
    with hub.database.session() as session:
        row = service.model_of_digest(session, digest)
        if row.owner_organisation_id != actor.organisation_id and "hub-admin" not in actor.roles:
            raise MedSiloError("not-permitted" if row.state == "accepted" else "model-unknown")
        refresh_boards(session, hub, service.withdraw(session, row, actor))
        return _record(session, row)


def _may_see(row: Model, actor: Actor, hidden: frozenset[str]) -> bool:
    own = row.owner_organisation_id == actor.organisation_id
    return own or (row.state == "accepted" and row.digest not in hidden) or "hub-admin" in actor.roles


def _record(session: Session, row: Model) -> ModelRecord:
    return _records(session, [row])[0]


def _records(session: Session, rows: Sequence[Model]) -> list[ModelRecord]:
    """Return models as people see them, by one query however many they are."""
    found = session.execute(
        select(Association, Benchmark, Entry)
        .join(Benchmark, Benchmark.id == Association.benchmark_id)
        .outerjoin(Entry, (Entry.benchmark_id == Benchmark.id) & (Entry.model_digest == Association.model_digest))
        .where(Association.model_digest == rows[0].digest if len(rows) == 1 else Association.model_digest.is_not(None))
        .order_by(Benchmark.name, Benchmark.version)
    )
    places: dict[str | None, list[Place]] = defaultdict(list)
    for association, benchmark, entry in found:
        places[association.model_digest].append((association, benchmark, entry))
    return [_with_places(session, row, places[row.digest]) for row in rows]


def _with_places(session: Session, row: Model, places: Sequence[Place]) -> ModelRecord:
    actor = current_actor()
    told = row.owner_organisation_id == actor.organisation_id or "hub-admin" in actor.roles
    return ModelRecord.model_validate(
        {
            "digest": row.digest,
            "size": row.size,
            "state": row.state,
            "code": row.code,
            "card": read_stored(ModelCard, row.card),
            "summary": row.summary,
            "lineage": row.lineage,
            "version": row.version,
            "version_of": row.version_of,
            "organisation": session.get_one(Organisation, row.owner_organisation_id).name,
            "benchmarks": tuple(
                place(association, benchmark, entry)
                for association, benchmark, entry in places
                if told or entry is None or entry.visibility == "public"
            ),
            "created": row.created,
        }
    )


def place(association: Association, benchmark: Benchmark, entry: Entry | None) -> ModelPlace:
    """Return where a model stands with a benchmark."""
    return ModelPlace.model_validate(
        {
            "benchmark": benchmark.name,
            "benchmark_version": benchmark.version,
            "association_id": association.id,
            "state": association.state,
            "attempt": entry.attempt if entry else None,
            "phase": entry.phase if entry else None,
            "visibility": entry.visibility if entry else "public",
            "embargo_until": entry.embargo_until if entry else None,
        }
    )
