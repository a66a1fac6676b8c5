"""The limits a statement is made under: of the benchmark's and the site's own the stricter each."""

from silo_node.policy.schema import DisclosureRules
from silo_node.wire.benchmarks import DisclosureLimits


def stricter(benchmark: DisclosureLimits, site: DisclosureRules) -> DisclosureLimits:
    """Return the limits that count at this site."""
    return DisclosureLimits(
        minimum_class=max(benchmark.minimum_class, site.minimum_class),
        minimum_cell=max(benchmark.minimum_cell, site.minimum_cell),
        minimum_sites=benchmark.minimum_sites,
        decimals=min(benchmark.decimals, site.decimals),
    )
