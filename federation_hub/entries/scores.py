"""The primary metric of models over the hospitals that have reported them: what decides about a ladder or a phase."""

from collections.abc import Mapping, Sequence

from pydantic_core import from_json
from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.statistics.rules import benchmark_rules
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.tables import EstimateBlockRow, block_text


def scores(session: Session, benchmark: Benchmark, digests: Sequence[str]) -> Mapping[str, float]:
    """Return the site-equal mean of every one of these models that a hospital has reported."""
    if not digests:
        return {}
    # Loading scipy takes longer than starting the rest of the hub.
    from benchmarks.statistics.blocks import site_block
    from benchmarks.statistics.moments import metric_table
    from benchmarks.statistics.pooling import pool

    blocks = [site_block(from_json(text), digest=digest) for digest, text in _blocks(session, benchmark)]
    if not blocks:
        return {}
    rules = benchmark_rules(benchmark.definition, digest=benchmark.digest)
    table = metric_table(blocks, list(digests), rules.primary, label=rules.ranked_label)
    pooled = pool(table.theta, table.variance)
    return {
        model: float(mean) for model, mean, sites in zip(table.models, pooled.mean, pooled.sites, strict=True) if sites
    }


def _blocks(session: Session, benchmark: Benchmark) -> list[tuple[str, str]]:
    rows = session.execute(
        select(EstimateBlockRow.digest, block_text()).where(
            EstimateBlockRow.benchmark_id == benchmark.id, EstimateBlockRow.state == "accepted"
        )
    )
    return [(digest, text) for digest, text in rows]
