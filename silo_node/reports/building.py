"""Building a cohort whole, as a person asks for it: in the node's own sandbox, and with its report."""

from pathlib import Path

from silo_node.cohorts.build import Built, build_cohort
from silo_node.cohorts.jailed import jailed_preparation
from silo_node.cohorts.query import CohortQuery
from silo_node.config import NodeConfig
from silo_node.policy import load_policy
from silo_node.reports.cohort import write_cohort_report
from silo_node.sandbox.grant import sandbox_of
from silo_node.sandbox.work import Progress
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition


def build_with_report(
    home: Home,
    config: NodeConfig,
    definition: BenchmarkDefinition,
    query: CohortQuery,
    progress: Progress,
    *,
    collection: str | None = None,
    labels: Path | None = None,
) -> tuple[Built, Path]:
    """Build and freeze a cohort under the site's policy, write its report, and return both.

    Raises what :func:`~silo_node.cohorts.build.build_cohort` and
    :func:`~silo_node.reports.cohort.write_cohort_report` raise.
    """
    built = build_cohort(
        home,
        definition,
        jailed_preparation(home, config, sandbox_of(config), progress),
        minimum_cases=load_policy(home).minimum_cohort,
        collection=collection,
        query=query,
        labels=labels,
    )
    return built, write_cohort_report(home, built.cohort, built.steps, definition, query.document())
