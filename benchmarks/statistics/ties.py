"""Which models differ, which are tied, and the ranks one may print.

A model's printed rank runs from one more than the models surely better to as many as are not surely worse: confidence
sets for ranks (Mogstad, Romano, Shaikh and Wilhelm, Rev. Econ. Stud. 2024; 91:476) that hold for all models together,
because the differences are adjusted by Holm's method (Scand. J. Stat. 1979; 6:65).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtr

from benchmarks.statistics.arrays import Booleans, Floats, Integers
from benchmarks.statistics.moments import MetricTable
from benchmarks.statistics.pooling import pool
from benchmarks.statistics.quantities import publishes

SIGNIFICANCE = 0.05
_EQUAL = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Differences between all pairs, row less column, as (m, m); NaN where a pair is not compared.

    ``low`` and ``high`` are unadjusted 95% limits; ``adjusted`` is the Holm-adjusted p value; ``ahead`` says that the
    row is surely better than the column. ``sites`` counts the sites that reported both: no other counts for the pair.
    """

    sign: float
    difference: Floats
    low: Floats
    high: Floats
    adjusted: Floats
    ahead: Booleans
    sites: Integers


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one model stands: its tie group, from 0, and the range of its rank."""

    model: int
    group: int
    low: int
    high: int


@publishes(
    "difference",
    "separated",
    title="Difference of two models",
    formula="d_s = θ_as − θ_bs, var d_s = v_a + v_b − 2 cov_ab, pooled over common hospitals",
    source="DeLong et al. 1988; Röver et al. 2015",
    words=(
        "Both models saw the same cases, so their difference is surer than their scores; only hospitals "
        "that reported both count."
    ),
)
def compare(table: MetricTable, *, tellable: Booleans | None = None, minimum_sites: int = 1) -> Comparisons:
    """Compare all pairs by random effects over the sites they have in common.

    A pair with fewer than ``minimum_sites`` common sites is not compared, unless all of them are ``tellable`` (s,): a
    difference at one or two sites would be theirs to publish.
    """
    size = len(table.models)
    mean, se, quantile = (np.full((size, size), np.nan) for _ in range(3))
    sites = np.zeros((size, size), dtype=np.int64)
    theirs = np.ones(len(table.sites), dtype=bool) if tellable is None else ~tellable
    present = table.present.astype(np.float32)
    few = (present @ present.T < minimum_sites) & (present[:, theirs] @ present[:, theirs].T > 0)
    for row, cross in enumerate(table.cross_covariances()):
        rest = slice(row + 1, size)
        y = table.theta[row] - table.theta[rest]
        y[few[row, rest]] = np.nan
        v = table.variance[row] + table.variance[rest]
        shared = cross[rest]
        shared *= 2
        v -= shared
        pooled = pool(y, v)
        mean[row, rest], se[row, rest], quantile[row, rest] = pooled.mean, pooled.se, pooled.quantile
        sites[row, rest] = pooled.sites
    return _comparisons(table, mean, se, quantile, sites)


def _comparisons(table: MetricTable, mean: Floats, se: Floats, quantile: Floats, sites: Integers) -> Comparisons:
    upper = np.triu_indices(len(mean), 1)
    ratio = -np.abs(mean[upper]) / np.where(se[upper] > 0, se[upper], 1.0)
    few, freedom = sites[upper] < 3, np.maximum(sites[upper] - 1, 1)
    adjusted = np.full(mean.shape, np.nan)
    adjusted[upper] = holm(2 * np.where(few, ndtr(ratio), stdtr(freedom, ratio)))
    half, end = quantile * se, table.rule.upper
    low, high = np.maximum(mean - half, -end), np.minimum(mean + half, end)
    difference, both = _mirrored(mean, -1.0), _mirrored(adjusted, 1.0)
    return Comparisons(
        sign=table.rule.sign,
        difference=difference,
        low=_filled(low, -high.T),
        high=_filled(high, -low.T),
        adjusted=both,
        ahead=(table.rule.sign * difference > 0) & (both < SIGNIFICANCE),
        sites=sites + sites.T,
    )


def _filled(upper: Floats, lower: Floats) -> Floats:
    return np.where(np.isnan(upper), lower, upper)


def _mirrored(upper: Floats, sign: float) -> Floats:
    return _filled(upper, sign * upper.T)


@publishes(
    "p_adjusted",
    title="Adjusted p value",
    formula="p₍ₖ₎ · (m − k + 1), made increasing, over all m pairs",
    source="Holm 1979",
)
def holm(p: Floats) -> Floats:
    """Return the p values adjusted by Holm's step-down method; NaN entries are not tests."""
    adjusted = np.full(p.shape, np.nan)
    tests = np.flatnonzero(np.isfinite(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


@publishes(
    "rank",
    "rank_low",
    "rank_high",
    "tie_group",
    title="Rank range and tie group",
    formula="from 1 + models surely better to M − models surely worse",
    source="Mogstad et al. 2024",
    words=(
        "The places a model may have at hospitals in general; all ranges hold together with 95%. Models of "
        "one tie group cannot be told apart from its first."
    ),
)
def standings(comparisons: Comparisons, names: Sequence[str]) -> list[Standing]:
    """Return the models in the order they are printed: by tie group, and inside a group by name.

    Walking down from the best, a model joins the group unless the group's first is surely better.
    """
    ahead, order = comparisons.ahead, point_order(comparisons, names)
    low, high = 1 + ahead.sum(axis=0), len(names) - ahead.sum(axis=1)
    standing, group, first = [], -1, -1
    for model in order:
        if first < 0 or ahead[first, model]:
            group, first = group + 1, model
        standing.append(Standing(model, group, int(low[model]), int(high[model])))
    return sorted(standing, key=lambda one: (one.group, names[one.model]))


def point_order(comparisons: Comparisons, names: Sequence[str]) -> list[int]:
    """Return the models by the share of others they are better than, less the share better than them, in estimate.

    Each pair on its common sites. Where every model has every site this is the order of the site-equal means.
    """
    better = comparisons.sign * comparisons.difference
    balance = (better > _EQUAL).sum(axis=1) - (better < -_EQUAL).sum(axis=1)
    share = balance / np.maximum(np.isfinite(better).sum(axis=1), 1)
    return sorted(range(len(names)), key=lambda model: (-share[model], names[model]))


def rank_text(low: int, high: int) -> str:
    """Return a rank range as it is printed: ``2`` or ``1-3``."""
    return str(low) if low == high else f"{low}-{high}"
