"""The hospitals of a benchmark version, each with its newest cohort and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.statistics.rules import benchmark_rules
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.service import private_places
from federation_hub.evaluations.matrix import undefined_reason
from federation_hub.evaluations.tables import EstimateBlockRow
from federation_hub.leaderboards.labels import PublicSite
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.silos.tables import Cohort, Silo


@dataclass(frozen=True, slots=True)
class Member:
    """A hospital: how it is named, its newest cohort, and whether it is counted."""

    site: PublicSite
    cohort: Cohort
    association: str
    answered: bool
    """It has sent a signed result that is accepted."""

    undefined: str | None
    """Why that result has no value of the primary metric, if it has none."""


def members(session: Session, benchmark: Benchmark) -> list[Member]:
    """Return the hospitals of a benchmark version in the order in which they are named."""
    sites = sites_of_benchmark(session, benchmark.name)
    rows = session.execute(
        select(Cohort, Association.state)
        .join(Silo, Silo.id == Cohort.silo_id)
        .outerjoin(
            Association, (Association.cohort_id == Cohort.id) & (Association.benchmark_id == Cohort.benchmark_id)
        )
        .where(Cohort.benchmark_id == benchmark.id, ~Silo.checks)
        .order_by(Cohort.created)
    )
    # The newest cohort of a hospital speaks for it; a retired one only where there is no other.
    newest: dict[str, tuple[Cohort, str]] = {}
    for cohort, consent in rows:
        before = newest.get(cohort.silo_id)
        if before is None or cohort.state != "retired" or before[0].state == "retired":
            newest[cohort.silo_id] = (cohort, consent or "requested")
    blocks = _accepted(session, benchmark)
    rules = benchmark_rules(benchmark.definition, digest=benchmark.digest)
    found = [
        Member(
            site=sites[silo_id],
            cohort=cohort,
            association=consent,
            answered=silo_id in blocks,
            undefined=undefined_reason(blocks[silo_id], rules) if silo_id in blocks else None,
        )
        for silo_id, (cohort, consent) in newest.items()
    ]
    return sorted(found, key=lambda member: (not member.site.named, len(member.site.label), member.site.label))


def public_models(session: Session, benchmark: Benchmark) -> frozenset[str]:
    """Return the models whose place on a benchmark version anybody may know of."""
    places = select(Association.model_digest).where(
        Association.benchmark_id == benchmark.id,
        Association.state == "approved",
        Association.model_digest.is_not(None),
        Association.id.not_in(private_places()),
    )
    return frozenset(digest for digest in session.scalars(places) if digest is not None)


def _accepted(session: Session, benchmark: Benchmark) -> dict[str, Mapping[str, Any]]:
    rows = session.execute(
        select(EstimateBlockRow.silo_id, EstimateBlockRow.block)
        .where(EstimateBlockRow.benchmark_id == benchmark.id, EstimateBlockRow.state == "accepted")
        .order_by(EstimateBlockRow.received, EstimateBlockRow.digest)
    )
    return {row.silo_id: row.block for row in rows}
