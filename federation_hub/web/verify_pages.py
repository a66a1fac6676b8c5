"""Checking what the hub says: what stands behind a digest, and how to compute it without the hub."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from flask import Blueprint, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.tables import EstimateBlockRow
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.models.listing import benchmarks_of
from federation_hub.models.tables import Model
from federation_hub.services import services
from federation_hub.studies.tables import Study
from federation_hub.web.rendering import link, page
from silo_node.web.formats import minute

blueprint = Blueprint("verify_pages", __name__)
_DIGEST = re.compile(r"(blake3|sha256):[0-9a-f]{64}")
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Found:
    """One thing a digest names: what it is in words, and where it is."""

    what: str
    href: str | None
    data_href: str | None = None


@dataclass(frozen=True, slots=True)
class VerifyPage:
    """The answer to a digest; ``asked`` is shown again only where it looks like one."""

    asked: str
    malformed: bool
    found: tuple[Found, ...]
    public_key: str


@blueprint.get("/verify")
def verify() -> str:
    """Tell what a digest names, and how to check it."""
    text = "".join(request.args.get("digest", "").split())[:_LONGEST].lower()
    fits = _DIGEST.fullmatch(text) is not None
    found: tuple[Found, ...] = ()
    if fits:
        with services().database.reading() as session:
            found = tuple(named_by(session, text))
    view = VerifyPage(text if fits else "", bool(text) and not fits, found, services().public_key)
    return page("verify.html", view=view)


def named_by(session: Session, digest: str) -> Iterable[Found]:
    """Yield everything public that a digest names."""
    snapshot = session.get(Snapshot, digest)
    if snapshot is not None:
        standing = "the one that stands" if snapshot.superseded_by is None else "superseded, and kept as it was"
        href = link("snapshots", digest)
        yield Found(f"A leaderboard, {standing}, computed {minute(snapshot.created)}", href, f"/api/v1{href}")
    benchmark = session.scalar(select(Benchmark).where(Benchmark.digest == digest))
    if benchmark is not None:
        href = link("benchmarks", benchmark.name, benchmark.version)
        yield Found(f"The definition of {benchmark.name}, version {benchmark.version}", href, f"/api/v1{href}")
    model = session.get(Model, digest)
    if model is not None and model.state in ("accepted", "withdrawn") and benchmarks_of(session, digest):
        yield Found(f"The bundle of the model “{model.card['name']}”", link("models", digest))
    study = session.scalar(select(Study).where(Study.plan_digest == digest, Study.state != "draft"))
    if study is not None:
        yield Found(f"The plan of the study “{study.plan['title']}”", link("studies", study.id))
    yield from _block(session, digest)


def _block(session: Session, digest: str) -> Iterable[Found]:
    row = session.get(EstimateBlockRow, digest)
    if row is None:
        return
    benchmark = session.get_one(Benchmark, row.benchmark_id)
    site = sites_of_benchmark(session, benchmark.name).get(row.silo_id)
    # Boards name their inputs by digest, so that there is one is public; whose it is may not be.
    shown = site is not None and site.shown
    whose = site.label if site is not None and shown else "a hospital that keeps its own results to itself"
    href = link("evaluations", row.evaluation_id) if shown else None
    yield Found(f"A result signed by {whose}, received {minute(row.received)}, {row.state}", href)
