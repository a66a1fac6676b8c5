"""Routes of benchmarks: public to read, published by their owners."""

from flask import Blueprint

from federation_hub.api import current_actor, route
from federation_hub.benchmarks.messages import BenchmarkList, BenchmarkSummary, BenchmarkView
from federation_hub.benchmarks.service import find, newest_versions, publish, versions
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.leaderboards.revisions import revision
from federation_hub.paging import PageQuery, page
from federation_hub.services import services
from federation_hub.stored import read_stored
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("benchmarks", __name__)


@route(blueprint, "GET", "/benchmarks", query=PageQuery, returns=BenchmarkList)
def benchmarks(query: PageQuery) -> BenchmarkList:
    """List the newest version of every benchmark, by name."""
    with services().database.reading() as session:
        found = page(session, newest_versions(), query, Benchmark.name)
    return BenchmarkList(benchmarks=tuple(_summary(row) for row in found.rows), next=found.next)


@route(blueprint, "GET", "/benchmarks/<name>", returns=BenchmarkView)
def newest_benchmark(name: str) -> BenchmarkView:
    """Return the newest version of a benchmark."""
    return _view(name, None)


@route(blueprint, "GET", "/benchmarks/<name>/<int:version>", returns=BenchmarkView)
def benchmark_version(name: str, version: int) -> BenchmarkView:
    """Return one version of a benchmark."""
    return _view(name, version)


@route(
    blueprint,
    "POST",
    "/benchmarks",
    body=BenchmarkDefinition,
    returns=BenchmarkView,
    status=201,
    roles={"benchmark-owner"},
)
def publish_benchmark(body: BenchmarkDefinition) -> BenchmarkView:
    """Publish a benchmark version, for ever as it is."""
    actor = current_actor()
    if actor.organisation_id is None:
        raise MedSiloError("not-permitted")
    with services().database.session() as session:
        publish(session, body, actor=actor, organisation_id=actor.organisation_id)
    return _view(body.name, body.version)


def _view(name: str, version: int | None) -> BenchmarkView:
    with services().database.reading() as session:
        row = find(session, name, version)
        return BenchmarkView(
            definition=read_stored(BenchmarkDefinition, row.definition),
            digest=row.digest,
            state=row.state,
            created=row.created,
            versions=tuple(entry.version for entry in versions(session, name)),
            board_awaited=revision(session, row.id) is not None,
        )


def _summary(row: Benchmark) -> BenchmarkSummary:
    definition = read_stored(BenchmarkDefinition, row.definition)
    return BenchmarkSummary(
        name=row.name,
        version=row.version,
        title=definition.title,
        task=definition.task,
        modality=definition.modality,
        provenance=definition.provenance,
        digest=row.digest,
        state=row.state,
    )
