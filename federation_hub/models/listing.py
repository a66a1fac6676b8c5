"""On which benchmarks a model has, or had, its place."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.service import private_places


def benchmarks_of(session: Session, digest: str) -> list[Benchmark]:
    """Return the benchmark versions of a model, by name, the newest version first.

    Ended places count as well: what was published keeps its page.
    """
    rows = (
        select(Benchmark)
        .join(Association, Association.benchmark_id == Benchmark.id)
        .where(Association.model_digest == digest, Association.state.in_(("approved", "ended")))
        .where(Association.id.not_in(private_places()))
        .order_by(Benchmark.name, Benchmark.version.desc())
    )
    return list(session.scalars(rows).unique())
