"""Leaderboards as data, in the very bytes their digest names; and each hospital's wish how it is shown."""

from flask import Blueprint, Response, request
from pydantic import Field

from federation_hub.api import current_actor, route
from federation_hub.benchmarks.service import find
from federation_hub.leaderboards.csv_table import board_csv
from federation_hub.leaderboards.curves import curves_of
from federation_hub.leaderboards.inputs import inputs_bytes
from federation_hub.leaderboards.kept import board_of
from federation_hub.leaderboards.reading import read_board
from federation_hub.leaderboards.service import gather, latest, publish_site, readable_inputs, snapshot_of
from federation_hub.leaderboards.snapshots import snapshot_bytes
from federation_hub.leaderboards.upkeep import changing_boards
from federation_hub.services import services
from silo_node.wire.base import Message
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.cohorts import Publication
from silo_node.wire.digests import digest_bytes

blueprint = Blueprint("leaderboards", __name__)
DIGEST_HEADER = "Snapshot-Digest"
_FOREVER = "public, max-age=31536000, immutable"


class OfVersion(Message):
    """Names a version of a benchmark; the newest without."""

    version: int | None = Field(default=None, ge=1, le=9999)


class SitePublication(Message):
    """How a hospital's own results are shown: under its name, under a pseudonym, or not at all."""

    publication: Publication


@route(
    blueprint,
    "POST",
    "/silos/<silo_id>/publication",
    body=SitePublication,
    returns=SitePublication,
    roles={"data-steward"},
)
def set_publication(silo_id: str, body: SitePublication) -> SitePublication:
    """Choose how a hospital of one's own organisation is shown on leaderboards."""
    with changing_boards(services()) as session:
        publish_site(session, silo_id, body.publication, current_actor())
    return body


@route(
    blueprint,
    "GET",
    "/benchmarks/<name>/leaderboard",
    query=OfVersion,
    returns_bytes=True,
    media_type="application/json",
)
def leaderboard(name: str, query: OfVersion) -> Response:
    """Return the standing leaderboard, in the bytes its digest is of."""
    body = _standing(name, query.version)
    return _answer(body, "application/json", digest_bytes(body))


@route(
    blueprint, "GET", "/benchmarks/<name>/leaderboard.csv", query=OfVersion, returns_bytes=True, media_type="text/csv"
)
def leaderboard_csv(name: str, query: OfVersion) -> Response:
    """Return the standing leaderboard as CSV, one row a ranked model."""
    with services().database.reading() as session:
        found = latest(session, name, query.version)
        if found is not None:
            return _answer(board_csv(board_of(found)).encode(), "text/csv", found.digest)
    body = _standing(name, query.version)
    return _answer(board_csv(read_board(body)).encode(), "text/csv", digest_bytes(body))


@route(blueprint, "GET", "/snapshots/<digest>", returns_bytes=True, media_type="application/json")
def snapshot(digest: str) -> Response:
    """Return one snapshot, standing or superseded."""
    return _answer(_kept(digest), "application/json", digest, _FOREVER)


@route(blueprint, "GET", "/snapshots/<digest>.csv", returns_bytes=True, media_type="text/csv")
def snapshot_csv(digest: str) -> Response:
    """Return one snapshot as CSV."""
    with services().database.reading() as session:
        board = board_of(snapshot_of(session, digest))
    return _answer(board_csv(board).encode(), "text/csv", digest, _FOREVER)


@route(blueprint, "GET", "/snapshots/<digest>/inputs", returns_bytes=True, media_type="application/json")
def snapshot_inputs(digest: str) -> Response:
    """Return what a snapshot was computed from, for `medsilo leaderboard recompute`.

    Public where every hospital on the board lets its own results be shown; else for the benchmark's owner alone.
    """
    with services().database.reading() as session:
        body = inputs_bytes(readable_inputs(session, digest, current_actor()))
    return _answer(body, "application/json", digest)


@route(blueprint, "GET", "/snapshots/<digest>/curves/<model>", returns_bytes=True, media_type="application/json")
def snapshot_curves(digest: str, model: str) -> Response:
    """Return a model's ROC, precision-recall and calibration curves with the bands that are guaranteed."""
    return _answer(canonical_bytes(curves_of(digest, model)), "application/json", digest, _FOREVER)


def _standing(name: str, version: int | None) -> bytes:
    """Return the standing snapshot; before the first result, what a snapshot of no results says."""
    with services().database.reading() as session:
        found = latest(session, name, version)
        return found.body if found is not None else snapshot_bytes(gather(session, find(session, name, version)))


def _kept(digest: str) -> bytes:
    with services().database.reading() as session:
        return snapshot_of(session, digest).body


def _answer(body: bytes, media_type: str, digest: str, caching: str = "no-cache") -> Response:
    response = Response(body, mimetype=media_type)
    response.headers["Cache-Control"] = caching
    response.headers[DIGEST_HEADER] = digest
    response.set_etag(f"{digest}-{media_type}")
    return response.make_conditional(request)  # type: ignore[return-value]
