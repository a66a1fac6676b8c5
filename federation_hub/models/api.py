"""Routes of models."""

from collections import defaultdict
from collections.abc import Sequence

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.service import organisation_names
from federation_hub.api import PERSON, current_actor, route
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.tables import Entry
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.upkeep import changing_boards
from federation_hub.models import service
from federation_hub.models.listing import entered_models, visible_models
from federation_hub.models.messages import ModelList, ModelPlace, ModelRecord, OfBenchmark
from federation_hub.models.submission import submit
from federation_hub.models.tables import Model
from federation_hub.paging import page
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
    actor = current_actor()
    wanted = visible_models(actor) if query.benchmark is None else entered_models(actor, query.benchmark)
    with services().database.reading() as session:
        found = page(session, wanted, query, Model.created, Model.digest, newest_first=True)
        return ModelList(models=_records(session, found.rows, actor), next=found.next)


@route(blueprint, "GET", "/models/<digest>", returns=ModelRecord, roles=PERSON)
def model(digest: str) -> ModelRecord:
    """Return one model."""
    with services().database.reading() as session:
        row = session.scalar(visible_models(current_actor()).where(Model.digest == digest))
        if row is None:
            raise MedSiloError("model-unknown")
        return _record(session, row)


@route(blueprint, "POST", "/models/<digest>/withdraw", returns=ModelRecord, roles={"researcher", "hub-admin"})
def withdraw_model(digest: str) -> ModelRecord:
    """Withdraw a model of one's own organisation; its past results stay on record."""
    actor, hub = current_actor(), services()
    with changing_boards(hub) as session:
        row = service.model_of_digest(session, digest)
        if row.owner_organisation_id != actor.organisation_id and "hub-admin" not in actor.roles:
            raise MedSiloError("not-permitted" if row.state == "accepted" else "model-unknown")
        outdate(session, service.withdraw(session, row, actor))
        return _record(session, row)


def _record(session: Session, row: Model) -> ModelRecord:
    return _records(session, [row], current_actor())[0]


def _records(session: Session, rows: Sequence[Model], actor: Actor) -> tuple[ModelRecord, ...]:
    """Return models as a person sees them, in as many queries whatever their number."""
    homes = organisation_names(session)
    places = _places(session, [row.digest for row in rows])
    return tuple(_view(row, homes[row.owner_organisation_id], places[row.digest], actor) for row in rows)


def _places(session: Session, digests: list[str]) -> dict[str, list[Place]]:
    found = session.execute(
        select(Association, Benchmark, Entry)
        .join(Benchmark, Benchmark.id == Association.benchmark_id)
        .outerjoin(Entry, (Entry.benchmark_id == Benchmark.id) & (Entry.model_digest == Association.model_digest))
        .where(Association.model_digest.in_(digests))
        .order_by(Benchmark.name, Benchmark.version)
    )
    places: dict[str, list[Place]] = defaultdict(list)
    for association, benchmark, entry in found:
        places[association.model_digest or ""].append((association, benchmark, entry))
    return places


def _view(row: Model, home: str, places: list[Place], actor: Actor) -> ModelRecord:
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
            "organisation": home,
            "benchmarks": tuple(place(*found) for found in places if told or _is_public(found[2])),
            "created": row.created,
        }
    )


def _is_public(entry: Entry | None) -> bool:
    return entry is None or entry.visibility == "public"


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
