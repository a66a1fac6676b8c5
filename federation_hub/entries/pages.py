"""Submitting a model step by step in the browser, and seeing where it is afterwards."""

from dataclasses import dataclass
from typing import Any, cast

from flask import Blueprint, make_response, redirect, request
from sqlalchemy import select
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts.browser import FORM_BYTES, read_form, signed_in
from federation_hub.accounts.pages.forms import Nothing
from federation_hub.api import current_actor
from federation_hub.benchmarks.service import find
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.entries.forms import NewEntry
from federation_hub.entries.rules import phase_at
from federation_hub.entries.service import entry_of, show
from federation_hub.entries.views import entries_view
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.upkeep import changing_boards
from federation_hub.models import service as models
from federation_hub.models.submission import submit
from federation_hub.models.tables import Model
from federation_hub.paging import page as listed
from federation_hub.services import services
from federation_hub.storage import service as storage
from federation_hub.storage.partial import ByteStream
from federation_hub.storage.tables import Upload
from federation_hub.stored import read_stored
from federation_hub.web.lists import asked_page
from federation_hub.web.rendering import link, page
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.digests import finish, new_hasher
from silo_node.wire.errors import BadInput, MedSiloError
from silo_node.wire.transfers import BlobReference, UploadRequest

blueprint = Blueprint("entry_pages", __name__)
RESEARCHER = frozenset({"researcher"})
_BLOCK = 1024 * 1024
ENTRIES_SHOWN = 20
STEPS = ("Benchmark", "Bundle", "Card", "Where it is")


@dataclass(frozen=True, slots=True)
class Choice:
    """A benchmark a model could go to."""

    name: str
    version: int
    title: str
    summary: str
    phase: str
    """Title of the phase that is open; empty where there are none."""

    open: bool


@signed_in(blueprint, "GET", "/submit", roles=RESEARCHER)
def choose_benchmark() -> str:
    """Step one: choose a benchmark."""
    with services().database.reading() as session:
        rows = session.scalars(select(Benchmark).where(Benchmark.state == "published").order_by(Benchmark.name)).all()
        choices = [_choice(row) for row in rows]
    return page("submit/benchmark.html", steps=STEPS, step=1, choices=choices)


@signed_in(blueprint, "GET", "/submit/<name>/<int:version>", roles=RESEARCHER)
def choose_bundle(name: str, version: int) -> str:
    """Step two: send the packed bundle."""
    return _bundle_page(name, version)


@signed_in(blueprint, "POST", "/submit/<name>/<int:version>", roles=RESEARCHER)
def send_bundle(name: str, version: int) -> AnyResponse:
    """Take the bundle and go on to its card."""
    hub = services()
    request.max_content_length = hub.config.maximum_bundle_bytes + FORM_BYTES
    file = request.files.get("bundle")
    if file is None or not file.filename:
        return make_response(_bundle_page(name, version, BadInput("file-missing")), 422)
    try:
        digest = _store(file)
    except MedSiloError as error:
        return make_response(_bundle_page(name, version, error), error.status)
    return redirect(link("submit", name, version, digest), 303)


@signed_in(blueprint, "GET", "/submit/<name>/<int:version>/<digest>", roles=RESEARCHER)
def describe_model(name: str, version: int, digest: str) -> str:
    """Step three: say what it is and who is told of it."""
    _own_upload(digest)
    return _card_page(name, version, digest)


@signed_in(blueprint, "POST", "/submit/<name>/<int:version>/<digest>", roles=RESEARCHER)
def submit_model(name: str, version: int, digest: str) -> AnyResponse:
    """Submit it, and lead to where it is; a refusal stands above the form with what to do."""
    bundle = _own_upload(digest)
    try:
        submit(services(), read_form(NewEntry).submission(bundle, name, version), current_actor())
    except MedSiloError as error:
        return make_response(_card_page(name, version, digest, error), error.status)
    return redirect(link("account", "models", digest), 303)


@signed_in(blueprint, "GET", "/account/models", roles=RESEARCHER)
def own_models() -> str:
    """List the models of one's own organisation."""
    with services().database.reading() as session:
        own = select(Model).where(Model.owner_organisation_id == current_actor().organisation_id)
        found = listed(session, own, asked_page(), Model.created, Model.digest, newest_first=True)
        return page("submit/models.html", models=found.rows, next=found.next)


@signed_in(blueprint, "GET", "/account/models/<digest>", roles=RESEARCHER)
def own_model(digest: str) -> str:
    """Step four: where it is, hospital by hospital, and what was released."""
    with services().database.reading() as session:
        model = _own(models.model_of_digest(session, digest))
        query = asked_page(ENTRIES_SHOWN)
        found = entries_view(session, model, query)
        entries = found.entries
        # A benchmark's owner who has to decide may do so at any moment. A later page does not look again by itself.
        moving = any(not entry.settled or entry.consent == "requested" for entry in entries)
        live = query.cursor is None and (model.state == "checking" or moving)
        asked = {(entry.benchmark, entry.benchmark_version) for entry in entries}
        questions = {key: find(session, *key).definition for key in asked}
        return page(
            "submit/model.html",
            steps=STEPS,
            step=4,
            model=model,
            entries=entries,
            next=found.next,
            titles={key: question["title"] for key, question in questions.items()},
            provenances=sorted({question["provenance"] for question in questions.values()}),
            at=now(),
            live=live,
        )


@signed_in(blueprint, "POST", "/account/models/<digest>/withdraw", roles=RESEARCHER)
def withdraw_model(digest: str) -> AnyResponse:
    """Withdraw a model; its past results stay on record."""
    read_form(Nothing)
    hub = services()
    with changing_boards(hub) as session:
        model = _own(models.model_of_digest(session, digest))
        outdate(session, models.withdraw(session, model, current_actor()))
    return redirect(link("account", "models", digest), 303)


@signed_in(blueprint, "POST", "/account/models/<digest>/reveal/<name>/<int:version>", roles=RESEARCHER)
def reveal_entry(digest: str, name: str, version: int) -> AnyResponse:
    """Make a private entry public."""
    read_form(Nothing)
    hub = services()
    with changing_boards(hub) as session:
        _own(models.model_of_digest(session, digest))
        benchmark = find(session, name, version)
        entry = entry_of(session, benchmark, digest)
        if entry is None:
            raise MedSiloError("model-unknown")
        show(session, entry, current_actor(), until=None)
        outdate(session, [benchmark])
    return redirect(link("account", "models", digest), 303)


def _choice(row: Benchmark) -> Choice:
    definition = read_stored(BenchmarkDefinition, row.definition)
    phase = phase_at(definition.phases, None, now())
    return Choice(
        row.name,
        row.version,
        definition.title,
        definition.summary,
        phase.title if phase else "",
        phase is not None or not definition.phases,
    )


def _bundle_page(name: str, version: int, error: MedSiloError | None = None) -> str:
    with services().database.reading() as session:
        definition = find(session, name, version).definition
    return page("submit/bundle.html", steps=STEPS, step=2, benchmark=definition, error=error)


def _card_page(name: str, version: int, digest: str, error: MedSiloError | None = None) -> str:
    with services().database.reading() as session:
        definition = read_stored(BenchmarkDefinition, find(session, name, version).definition)
        own = select(Model).where(
            Model.owner_organisation_id == current_actor().organisation_id,
            Model.state == "accepted",
            Model.digest != digest,
        )
        rows = session.scalars(own.order_by(Model.created.desc()).limit(100)).all()
    followed = {row.version_of for row in rows}
    earlier = [row for row in rows if row.lineage is None and row.digest not in followed]
    present = phase_at(definition.phases, None, now())
    given: dict[str, Any] = dict(request.form.items())
    return page(
        "submit/card.html",
        steps=STEPS,
        step=3,
        benchmark=definition,
        phases=[phase for phase in definition.phases if phase_at((phase,), None, now()) is not None],
        present=present.name if present else "",
        earlier=earlier,
        given=given,
        error=error,
    )


def _own(model: Model) -> Model:
    if model.owner_organisation_id != current_actor().organisation_id:
        raise MedSiloError("model-unknown")
    return model


def _own_upload(digest: str) -> BlobReference:
    """Return what this person has sent under a digest; raises ``not-found``."""
    with services().database.reading() as session:
        mine = select(Upload).where(
            Upload.digest == digest, Upload.owner_id == current_actor().id, Upload.state == "complete"
        )
        upload = session.scalar(mine.limit(1))
    if upload is None:
        raise MedSiloError("not-found")
    return BlobReference(digest=upload.digest, size=upload.size)


def _store(file: FileStorage) -> str:
    """Keep a bundle the browser sent as if it had come in chunks, and return its digest."""
    hub = services()
    hasher, size = new_hasher(), 0
    while block := file.stream.read(_BLOCK):
        hasher.update(block)
        size += len(block)
    if size == 0:
        raise BadInput("bundle-archive-unsafe")
    digest = finish(hasher)
    wish = UploadRequest(digest=digest, size=size, purpose="model")
    with hub.database.session() as session:
        upload = storage.announce(session, hub.config, hub.blobs, wish, current_actor())
    if upload.state == "receiving":
        offset = hub.partials.offset(upload.id)
        file.stream.seek(offset)
        hub.partials.append(upload.id, cast(ByteStream, file.stream), offset=offset, size=size)
        storage.settle(hub, upload.id)
    return digest
