"""How hospitals are named in public: by name where they wish so, by a stable pseudonym otherwise, or not at all."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.leaderboards.labels import PublicSite, public_sites
from federation_hub.silos.tables import Cohort, Silo


def sites_of_benchmark(session: Session, name: str) -> dict[str, PublicSite]:
    """Return how the sites of a benchmark are named.

    The order is that of first registration over all versions: cohorts are never deleted, so a site keeps its letter;
    on another benchmark its letter follows the order there.
    """
    joined = func.min(Cohort.created)
    rows = session.execute(
        select(Silo.id, Silo.name, Silo.publication)
        .join(Cohort, Cohort.silo_id == Silo.id)
        .join(Benchmark, Benchmark.id == Cohort.benchmark_id)
        .where(Benchmark.name == name)
        .group_by(Silo.id, Silo.name, Silo.publication)
        .order_by(joined, Silo.id)
    )
    return public_sites((row[0], row[1], row[2]) for row in rows)
