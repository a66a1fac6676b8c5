"""Routes of entries: their owner follows them, the benchmark's owner orders them."""

from flask import Blueprint
from sqlalchemy.orm import Session

from federation_hub.accounts.audit import record
from federation_hub.api import PERSON, current_actor, route
from federation_hub.benchmarks.service import find
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.messages import EntryList, EntrySettings, EntryView, Showing
from federation_hub.entries.service import entry_of, show
from federation_hub.entries.tables import Entry
from federation_hub.entries.views import entries_view, entry_view
from federation_hub.evaluations.disputes import owns
from federation_hub.evaluations.service import plan_evaluations
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.upkeep import changing_boards
from federation_hub.models.service import model_of_digest
from federation_hub.models.tables import Model
from federation_hub.paging import PageQuery
from federation_hub.services import services
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("entries", __name__)


@route(blueprint, "GET", "/models/<digest>/entries", query=PageQuery, returns=EntryList, roles=PERSON)
def model_entries(digest: str, query: PageQuery) -> EntryList:
    """Tell a model's owner where it stands, site by site, and what was released of it."""
    with services().database.reading() as session:
        return entries_view(session, _own_model(session, digest), query)


@route(
    blueprint,
    "POST",
    "/benchmarks/<name>/<int:version>/entries/<digest>/showing",
    body=Showing,
    returns=EntryView,
    roles={"researcher"},
)
def show_entry(name: str, version: int, digest: str, body: Showing) -> EntryView:
    """Make a private entry of one's own public, now or from a date on."""
    hub, actor = services(), current_actor()
    with changing_boards(hub) as session:
        benchmark, model, entry = _entry(session, name, version, digest)
        if model.owner_organisation_id != actor.organisation_id:
            raise MedSiloError("model-unknown")
        show(session, entry, actor, until=body.embargo_until)
        outdate(session, [benchmark])
        return entry_view(session, model, benchmark)


@route(
    blueprint,
    "POST",
    "/benchmarks/<name>/<int:version>/entries/<digest>/settings",
    body=EntrySettings,
    returns=EntrySettings,
    roles={"benchmark-owner", "hub-admin"},
)
def set_entry(name: str, version: int, digest: str, body: EntrySettings) -> EntrySettings:
    """Set an entry's priority, or whether it is a baseline; what is not given stays as it is."""
    hub, actor = services(), current_actor()
    with changing_boards(hub) as session:
        benchmark, _, entry = _entry(session, name, version, digest)
        if not owns(benchmark, actor):
            raise MedSiloError("not-permitted")
        if body.priority is not None:
            entry.priority = body.priority
            record(session, actor, "entry.prioritise", entry.id, None, str(body.priority))
        if body.baseline is not None:
            entry.baseline = body.baseline
            record(session, actor, "entry.baseline", entry.id, None, "yes" if body.baseline else "no")
        plan_evaluations(session, benchmark)
        outdate(session, [benchmark])
        return EntrySettings(priority=entry.priority, baseline=entry.baseline)


def _own_model(session: Session, digest: str) -> Model:
    actor, model = current_actor(), model_of_digest(session, digest)
    if model.owner_organisation_id != actor.organisation_id and "hub-admin" not in actor.roles:
        raise MedSiloError("model-unknown")
    return model


def _entry(session: Session, name: str, version: int, digest: str) -> tuple[Benchmark, Model, Entry]:
    benchmark, model = find(session, name, version), model_of_digest(session, digest)
    entry = entry_of(session, benchmark, digest)
    if entry is None:
        raise MedSiloError("model-unknown")
    return benchmark, model, entry
