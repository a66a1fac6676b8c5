"""Every model's pooled number of one metric, and what is said of its sites, as JSON."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.statistics.arrays import Booleans, Floats
from benchmarks.statistics.moments import MetricTable
from benchmarks.statistics.pooling import (
    NORMAL_95,
    Heterogeneity,
    Pooled,
    bounded_interval,
    confidence_interval,
    heterogeneity,
    pool,
    prediction_interval,
)
from benchmarks.statistics.quantities import publishes

Summary = dict[str, Any]

_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """The second gate: a pooled number needs ``minimum_sites``, unless all its sites may be named (s,).

    A site may be named, or shown under a pseudonym (s,) among ``minimum_sites`` or more.
    """

    minimum_sites: int
    named: Booleans
    pseudonymous: Booleans | Literal[False] = False

    def pooled(self, present: Booleans) -> Booleans:
        """Say of which models (m,) pooled numbers may be shown."""
        sites = present.sum(axis=1)
        return np.asarray((sites > 0) & ((sites >= self.minimum_sites) | ~(present & ~self.named).any(axis=1)))

    def sites(self, present: Booleans) -> Booleans:
        """Say which cells (m, s) may be shown by themselves."""
        told = self.named | self.pseudonymous
        return np.asarray(present & told & (present.sum(axis=1) >= self.minimum_sites)[:, None])


@publishes(
    "worst_site",
    "gap",
    "below_floor",
    title="Worst hospital",
    formula=(
        "worst = min_s θ_s (max where lower is better); gap = max_s θ_s − min_s θ_s; mark where any θ_s "
        "misses the declared floor"
    ),
    source="Zenk et al. 2025",
    words=(
        "The hospital where the model does worst, with its interval, how far that is from its best, and "
        "whether it misses the floor anywhere."
    ),
)
def summaries(table: MetricTable, publication: Publication) -> list[Summary | None]:
    """Return for each model its summary, or None where it must not be shown or there is nothing to show.

    ``scope`` says what the interval is about: ``new_sites`` like these by random effects, or with fewer than three
    sites ``these_sites`` alone.
    """
    equal, weighted = pool(table.theta, table.variance), pool(table.theta, table.variance, table.cases)
    cases = np.nansum(table.cases, axis=1)
    spread = heterogeneity(table.theta, table.variance)
    prediction = prediction_interval(equal, upper=table.rule.upper, size=cases)
    low, high = _site_intervals(table)
    columns = (_estimates(table, equal, cases), _estimates(table, weighted, cases))
    present = table.present
    shown, told = publication.pooled(present), publication.named | publication.sites(present)
    missed = _under_floor(table)
    result: list[Summary | None] = []
    for model in range(len(table.models)):
        if not shown[model]:
            result.append(None)
            continue
        here = np.flatnonzero(present[model])
        result.append(
            columns[0][model]
            | {
                "scope": "new_sites" if equal.estimable[model] else "these_sites",
                "prediction": _interval(prediction, model) if equal.estimable[model] else None,
                "case_weighted": columns[1][model],
                "heterogeneity": _heterogeneity(spread, model, here.size) if equal.estimable[model] else None,
                "worst_site": _worst(table, model, told[model], low, high),
                "gap": number(np.ptp(table.theta[model, here])),
                "below_floor": bool(missed[model]),
                "sites": int(here.size),
                "cases": int(cases[model]),
            }
        )
    return result


def shown_sites(table: MetricTable, publication: Publication) -> tuple[str, ...]:
    """Return the sites that have a cell of their own on the board, in the order ``per_site`` counts them in."""
    shown = np.atleast_1d(publication.sites(table.present).any(axis=0))
    return tuple(site for site, seen in zip(table.sites, shown, strict=True) if seen)


def per_site(table: MetricTable, publication: Publication) -> list[Summary]:
    """Return for each model the estimates of those sites that may be shown, as columns.

    ``sites`` are places in ``shown_sites``. Columns, because a board of 1,000 models and 100 sites has 100,000 cells.
    """
    low, high = _site_intervals(table)
    shown = publication.sites(table.present)
    place = np.cumsum(shown.any(axis=0)) - 1
    return [
        {
            "sites": place[here].tolist(),
            "estimate": numbers(table.theta[model, here]),
            "low": numbers(low[model, here]),
            "high": numbers(high[model, here]),
            "cases": table.cases[model, here].astype(np.int64).tolist(),
        }
        for model in range(len(table.models))
        for here in [np.flatnonzero(shown[model])]
    ]


def number(value: float | np.floating[Any]) -> float | None:
    """Return a float as it is published: six decimals, and None for what is not defined."""
    return round(float(value), _DIGITS) + 0.0 if np.isfinite(value) else None


def numbers(values: Floats) -> list[float]:
    """Return finite floats as they are published."""
    return list(map(float, (np.round(values, _DIGITS) + 0.0).tolist()))


def _under_floor(table: MetricTable) -> Booleans:
    """Say which models (m,) miss the declared floor at any site."""
    floor, sign = table.rule.floor, table.rule.sign
    if floor is None:
        return np.zeros(len(table.models), dtype=bool)
    return np.asarray((table.present & (sign * (table.theta - floor) < 0)).any(axis=1))


def _estimates(table: MetricTable, pooled: Pooled, cases: Floats) -> list[Summary]:
    interval = confidence_interval(pooled, upper=table.rule.upper, size=np.maximum(cases, 1))
    return [{"estimate": number(pooled.mean[model])} | _interval(interval, model) for model in range(len(table.models))]


def _interval(interval: tuple[Floats, Floats], model: int) -> Summary:
    return {"low": number(interval[0][model]), "high": number(interval[1][model])}


def _heterogeneity(spread: Heterogeneity, model: int, sites: int) -> Summary:
    names = ("tau2", "tau2_low", "tau2_high", "q", "i2", "i2_low", "i2_high")
    return {name: number(getattr(spread, name)[model]) for name in names} | {"q_df": sites - 1}


def _site_intervals(table: MetricTable) -> tuple[Floats, Floats]:
    se = np.sqrt(np.where(table.present, table.variance, 1.0))
    mean = np.where(table.present, table.theta, 0.0)
    size = np.where(table.present, table.cases, 1.0)
    return bounded_interval(mean, se, NORMAL_95, upper=table.rule.upper, size=size)


def _worst(table: MetricTable, model: int, told: Booleans, low: Floats, high: Floats) -> Summary:
    site = int(np.nanargmin(table.rule.sign * table.theta[model]))
    return {
        "site": table.sites[site] if told[site] else None,
        "estimate": number(table.theta[model, site]),
        "low": number(low[model, site]),
        "high": number(high[model, site]),
    }
