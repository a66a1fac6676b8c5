"""Publishing benchmarks: a version is written once and never changes."""

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.states import Machine
from pipelines.bundles import check_transforms
from pipelines.errors import PipelineError
from pipelines.question import TransformSpec
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.canonical import message_digest
from silo_node.wire.errors import BadInput, MedSiloError

BENCHMARK = Machine(
    "benchmark",
    {
        "supersede": {"published": "superseded"},
        "retire": {"published": "retired", "superseded": "retired"},
    },
)


def publish(session: Session, definition: BenchmarkDefinition, *, actor: Actor, organisation_id: str) -> Benchmark:
    """Publish a version; it supersedes those before it. Publishing the very same definition again changes nothing.

    Raises ``benchmark-immutable`` where that version is there already with another definition, ``state-conflict``
    where it is older than the newest, ``not-permitted`` where the name belongs to another organisation, a transform's
    own code where no site could prepare its cases.
    """
    digest = message_digest(definition)
    earlier = versions(session, definition.name)
    same = next((row for row in earlier if row.version == definition.version), None)
    if same is not None and same.digest == digest:
        return same
    if any(row.owner_organisation_id != organisation_id for row in earlier):
        raise MedSiloError("not-permitted")
    if same is not None:
        raise MedSiloError("benchmark-immutable")
    if earlier and definition.version < earlier[-1].version:
        raise MedSiloError("state-conflict")
    _refuse_unknown_transforms(definition)
    for row in earlier:
        if BENCHMARK.allows(row.state, "supersede"):
            _move(session, row, "supersede", actor)
    return _add(session, definition, digest, actor, organisation_id)


def versions(session: Session, name: str) -> list[Benchmark]:
    """Return every version of a benchmark, oldest first."""
    return list(session.scalars(select(Benchmark).where(Benchmark.name == name).order_by(Benchmark.version)))


def newest_versions(*, retired: bool = True) -> Select[Benchmark]:
    """Select the newest version of every benchmark, or of those that are in use."""
    other = aliased(Benchmark)
    later = select(other.id).where(other.name == Benchmark.name, other.version > Benchmark.version)
    if retired:
        return select(Benchmark).where(~later.exists())
    return select(Benchmark).where(Benchmark.state != "retired", ~later.where(other.state != "retired").exists())


def find(session: Session, name: str, version: int | None = None) -> Benchmark:
    """Return one version of a benchmark, by default the newest; raises ``benchmark-unknown``."""
    found = [row for row in versions(session, name) if version in (None, row.version)]
    if not found:
        raise MedSiloError("benchmark-unknown")
    return found[-1]


def referenced(session: Session, reference: BenchmarkReference) -> Benchmark:
    """Return the version a message names; raises ``benchmark-unknown``, also where the digest is another one's."""
    benchmark = find(session, reference.name, reference.version)
    if benchmark.digest != reference.digest or benchmark.state == "retired":
        raise MedSiloError("benchmark-unknown")
    return benchmark


def reference_to(benchmark: Benchmark) -> BenchmarkReference:
    """Return how messages name a version."""
    return BenchmarkReference(name=benchmark.name, version=benchmark.version, digest=benchmark.digest)


def _refuse_unknown_transforms(definition: BenchmarkDefinition) -> None:
    try:
        check_transforms(TransformSpec(name=step.name, args=step.args) for step in definition.preparation)
    except PipelineError as error:
        raise BadInput(error.code) from error


def _add(
    session: Session, definition: BenchmarkDefinition, digest: str, actor: Actor, organisation_id: str
) -> Benchmark:
    benchmark = Benchmark(
        name=definition.name,
        version=definition.version,
        digest=digest,
        state="published",
        definition=definition.model_dump(mode="json"),
        owner_organisation_id=organisation_id,
        owner_person_id=actor.id,
    )
    session.add(benchmark)
    session.flush()
    record(session, actor, "benchmark.publish", benchmark.id, None, "published")
    return benchmark


def _move(session: Session, benchmark: Benchmark, event: str, actor: Actor) -> None:
    before, benchmark.state = benchmark.state, BENCHMARK.after(benchmark.state, event)
    record(session, actor, f"benchmark.{event}", benchmark.id, before, benchmark.state)
