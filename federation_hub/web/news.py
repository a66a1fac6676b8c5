"""What is new on the hub: on the front page, and as an Atom feed (RFC 4287) for readers who come back by machine."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, Response, render_template, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.entries.service import private_places
from federation_hub.leaderboards.kept import board_of
from federation_hub.leaderboards.service import WITHOUT_BOARD
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.models.tables import Model
from federation_hub.services import services
from federation_hub.studies.tables import Study
from federation_hub.web.rendering import link
from federation_hub.web.structured import absolute
from federation_hub.web.words import plural

blueprint = Blueprint("news", __name__)
SHOWN, IN_FEED = 8, 40


@dataclass(frozen=True, slots=True)
class News:
    """Something that happened: ``subject`` links to it, ``what`` goes on in words."""

    at: datetime
    subject: str
    href: str
    what: str

    @property
    def id(self) -> str:
        """An identity that never changes and is nobody else's (RFC 4287, 4.2.6)."""
        return f"{self.href}#{self.at:%Y-%m-%dT%H:%M:%S}"


@blueprint.get("/feed.atom")
def feed() -> Response:
    """Tell what is new to feed readers."""
    with services().database.reading() as session:
        items = recent(session, IN_FEED)
    text = render_template(
        "feed.xml",
        items=items,
        updated=items[0].at if items else now(),
        absolute=absolute,
        own=absolute(request.path),
        front=absolute("/"),
    )
    response = Response(text, mimetype="application/atom+xml")
    response.headers["Cache-Control"] = "public, max-age=300"
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]


def recent(session: Session, count: int) -> list[News]:
    """Return the latest events, the newest first."""
    benchmarks = session.scalars(select(Benchmark)).all()
    found = [*_published(benchmarks), *_joined(session, benchmarks, count), *_boards(session, benchmarks, count)]
    found += _completed(session, count)
    return sorted(found, key=lambda item: (item.at, item.href), reverse=True)[:count]


def _published(benchmarks: Sequence[Benchmark]) -> Iterable[News]:
    for row in benchmarks:
        what = "was published" if row.version == 1 else f"was published in version {row.version}"
        yield News(row.created, row.definition["title"], link("benchmarks", row.name, row.version), what)


def _joined(session: Session, benchmarks: Sequence[Benchmark], count: int) -> Iterable[News]:
    titles = {row.id: row.definition["title"] for row in benchmarks}
    places = (
        select(Model, Association)
        .join(Association, Association.model_digest == Model.digest)
        .where(Association.id.not_in(private_places()))
        .where(Association.state == "approved", Association.decided.is_not(None), Model.state == "accepted")
        .order_by(Association.decided.desc())
        .limit(count)
    )
    for model, place in session.execute(places):
        what = f"joined {titles[place.benchmark_id]}"
        yield News(place.decided or place.created, model.card["name"], link("models", model.digest), what)


def _boards(session: Session, benchmarks: Sequence[Benchmark], count: int) -> Iterable[News]:
    """Boards that stand: earlier ones were news once and are kept, but nobody needs to read them all."""
    rows = {row.id: row for row in benchmarks}
    standing = select(Snapshot).where(Snapshot.superseded_by.is_(None)).order_by(Snapshot.created.desc()).limit(count)
    for snapshot in session.scalars(standing.options(*WITHOUT_BOARD)):
        board = board_of(snapshot)
        if board.ranked:
            counts = f"{plural(len(board.entries), 'model')} over {plural(board.site_count, 'hospital')}"
            title = rows[snapshot.benchmark_id].definition["title"]
            yield News(snapshot.created, title, link("snapshots", snapshot.digest), f"has a new board: {counts}")


def _completed(session: Session, count: int) -> Iterable[News]:
    finished = select(Study).where(Study.state == "completed").order_by(Study.finished.desc()).limit(count)
    for study in session.scalars(finished):
        what = f"was completed after {plural(study.plan['rounds'], 'round')}"
        yield News(study.finished or study.created, study.plan["title"], link("studies", study.id), what)
