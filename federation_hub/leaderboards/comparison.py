"""Two models on the same patients: the difference at each hospital and over all of them.

The scores of two models at a hospital go together, because they err on the same cases. A hospital's signed block says
how much, so that the interval of their difference is narrower than the two intervals side by side suggest.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from federation_hub.leaderboards.board import Estimate

if TYPE_CHECKING:
    from benchmarks.statistics.blocks import SiteBlock
    from benchmarks.statistics.rules import BenchmarkRules

Z95 = 1.959964
"""The normal quantile of a 95% interval."""


@dataclass(frozen=True, slots=True)
class SiteDifference:
    """The first less the second at one hospital, on the metric's own scale."""

    site: str
    difference: Estimate


@dataclass(frozen=True, slots=True)
class Paired:
    """The first less the second over their common hospitals; without values where these are too few to tell of."""

    difference: Estimate
    ahead: float | None
    """The chance that the first is better at these very hospitals, each counting the same."""

    sites: int
    at: tuple[SiteDifference, ...]
    """Hospitals that let their own results be seen."""


def paired(
    rules: "BenchmarkRules",
    blocks: Sequence["SiteBlock"],
    first: str,
    second: str,
    *,
    shown: Collection[str],
    named: Collection[str],
) -> Paired:
    """Compare two models by the benchmark's primary metric, as the board compares all pairs.

    ``shown`` are the hospitals whose own values may be seen, ``named`` those of them under their own name: only these
    may be told of where fewer than the benchmark's limit have reported both models.
    """
    # Loading scipy takes longer than starting the rest of the hub, and most starts compare nothing.
    import numpy as np
    from scipy.special import ndtr

    from benchmarks.statistics.moments import metric_table
    from benchmarks.statistics.ranking import mean_covariance
    from benchmarks.statistics.ties import compare

    table = metric_table(blocks, (first, second), rules.primary, label=rules.ranked_label)
    both = np.atleast_1d(table.present.all(axis=0))
    tellable = np.array([site in named for site in table.sites], bool)
    found = compare(table, tellable=tellable, minimum_sites=rules.limits.minimum_sites)
    if not np.isfinite(found.difference[0, 1]):
        return Paired(Estimate(None), None, int(both.sum()), ())
    common = table.select(np.ones(2, dtype=bool), both)
    mean, cov = common.theta.mean(axis=1), mean_covariance(common)
    spread = sqrt(max(float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]), 1e-18))
    cross = next(common.cross_covariances())[1]
    variances = np.maximum(common.variance[0] + common.variance[1] - 2 * cross, 0.0)
    at = [
        SiteDifference(site, _normal(float(y), sqrt(float(v))))
        for site, y, v in zip(common.sites, common.theta[0] - common.theta[1], variances, strict=True)
        if site in shown
    ]
    low, high = float(found.low[0, 1]), float(found.high[0, 1])
    return Paired(
        difference=Estimate(float(found.difference[0, 1]), low, high),
        ahead=float(ndtr(rules.primary.sign * float(mean[0] - mean[1]) / spread)),
        sites=int(both.sum()),
        at=tuple(at),
    )


def _normal(value: float, deviation: float) -> Estimate:
    return Estimate(value, value - Z95 * deviation, value + Z95 * deviation)
