"""How often the leaderboard's intervals hold the truth, simulated from scores: of the pooled AUROC, and of the ranks.

    python -m tests.performance.coverage [--federations 2000]

A federation has a few unequal hospitals with 30 to 199 cases of each class; models err on the same cases. Prints two
tables; ``docs/explanation/statistics.md`` quotes them.
"""

import argparse
import os
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from benchmarks.statistics.arrays import Floats
from benchmarks.statistics.delong import auroc
from benchmarks.statistics.moments import MetricTable, SiteCovariance
from benchmarks.statistics.pooling import confidence_interval, pool
from benchmarks.statistics.ranking import rank_distribution
from benchmarks.statistics.rules import MetricRule
from benchmarks.statistics.ties import compare, standings

SETTINGS = ((1.5, 0.3), (2.3, 0.3), (2.3, 0.0), (3.3, 0.3), (4.4, 0.3), (4.4, 0.0))
"""Distance between the classes in standard deviations, and how much hospitals differ in it."""

LADDERS = {
    "apart": (2.6, 2.2, 1.8, 1.4),
    "close": (2.2, 2.1, 2.0, 1.9),
    "two alike": (2.3, 2.3, 1.8, 1.8),
    "all alike": (2.0, 2.0, 2.0, 2.0),
}
"""Distances of four models between the classes, before hospitals differ."""

SHARED = 0.7
"""Correlation of two models' scores of a case."""

DRAWS = 2000


def pooled_truth(distance: float, spread: float, rng: np.random.Generator) -> Floats:
    """Return the true AUROC of many hospitals with normal scores."""
    return np.asarray(np.clip(norm.cdf((distance + spread * rng.standard_normal(400_000)) / np.sqrt(2)), 0, 1 - 1e-9))


def simulate(
    federations: int, sites: int, distance: float, spread: float, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Return AUROC and DeLong variance (federations, sites), and the cases of each federation."""
    theta, variance = np.empty((2, federations, sites))
    cases = np.zeros(federations)
    for cell in np.ndindex(federations, sites):
        n, m = rng.integers(30, 200, 2)
        ill = rng.standard_normal(m) + distance + spread * rng.standard_normal()
        scores = np.concatenate([ill, rng.standard_normal(n)])
        parts = auroc(scores[None], np.arange(m + n) < m, np.arange(m + n))
        half_a_pair = 0.5 / (m * n + 1)
        least = 2 * half_a_pair * (1 - half_a_pair) / (m * n + 1) if parts.theta[0] >= 1 else 0.0
        theta[cell], variance[cell] = parts.theta[0], max(parts.cov[0, 0], least)
        cases[cell[0]] += m + n
    return theta, variance, cases


def pooled_coverage(
    federations: int, sites: int, distance: float, spread: float, rng: np.random.Generator
) -> list[float]:
    """Return the true mean AUROC, then coverage and median width of our intervals and of those from site logits."""
    true = pooled_truth(distance, spread, rng)
    theta, variance, cases = simulate(federations, sites, distance, spread, rng)
    low, high = confidence_interval(pool(theta, variance), upper=1.0, size=cases)
    held = np.minimum(theta, 1 - 1 / 5000)
    logits = pool(logit(held), variance / (held * (1 - held)) ** 2)
    other = [expit(logits.mean + side * logits.quantile * logits.se) for side in (-1, 1)]
    middle = expit(logit(true).mean())
    return [
        float(true.mean()),
        float(np.mean((low <= true.mean()) & (true.mean() <= high))),
        float(np.median(high - low)),
        float(np.mean((other[0] <= middle) & (middle <= other[1]))),
        float(np.median(other[1] - other[0])),
    ]


class RankCoverage(NamedTuple):
    """Shares of federations, or of models in them, whose rank was held, and mean widths in ranks."""

    drawn: float
    """Models whose true rank at these hospitals is in their drawn 95% interval."""

    drawn_width: float
    printed: float
    """Federations in which every model's true rank at hospitals in general is in its printed range."""

    printed_width: float


def rank_coverage(federations: int, sites: int, ladder: tuple[float, ...], rng: np.random.Generator) -> RankCoverage:
    """Simulate federations of models that differ by ``ladder``, and by chance from hospital to hospital."""
    general, models = _ranks(np.array(ladder)), len(ladder)
    drawn, printed, drawn_width, printed_width = (np.zeros(federations) for _ in range(4))
    for index in range(federations):
        table, here = _federation(sites, np.array(ladder), rng)
        found = rank_distribution(table, seed=index, draws=DRAWS)
        drawn[index] = np.mean((found.low <= here) & (here <= found.high))
        drawn_width[index] = np.mean(found.high - found.low)
        stands = sorted(standings(compare(table), table.models), key=lambda one: one.model)
        low, high = (np.array([getattr(one, end) for one in stands]) for end in ("low", "high"))
        printed[index] = ((low <= general) & (general <= high)).all()
        printed_width[index] = np.mean(high - low)
    assert models == len(table.models)
    return RankCoverage(*(float(value.mean()) for value in (drawn, drawn_width, printed, printed_width)))


def _federation(sites: int, ladder: Floats, rng: np.random.Generator) -> tuple[MetricTable, Floats]:
    """Return a federation's estimates, and the true ranks of the models' means at its own hospitals."""
    models = ladder.size
    theta, cases = np.empty((2, models, sites))
    truth, covariances = np.empty((models, sites)), []
    for site in range(sites):
        n, m = rng.integers(30, 200, 2)
        distance = ladder + 0.3 * rng.standard_normal() + 0.1 * rng.standard_normal(models)
        truth[:, site], cases[:, site] = norm.cdf(distance / np.sqrt(2)), m + n
        common = rng.standard_normal(m + n)
        scores = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * rng.standard_normal((models, m + n))
        scores[:, :m] += distance[:, None]
        parts = auroc(scores, np.arange(m + n) < m, np.arange(m + n))
        theta[:, site] = parts.theta
        covariances.append(SiteCovariance(site, np.arange(models), parts.cov))
    variance = np.stack([np.diag(block.cov) for block in covariances], axis=1)
    names, places = tuple("abcdefgh"[:models]), tuple(f"site {site}" for site in range(sites))
    table = MetricTable(MetricRule("auroc", True), names, places, theta, variance, cases, tuple(covariances))
    return table, _ranks(truth.mean(axis=1))


def _ranks(values: Floats) -> Floats:
    """One more than how many are better; equal ones share the better rank."""
    return np.asarray(1 + (values[None, :] > values[:, None]).sum(axis=1))


def main() -> None:
    """Print one line a setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--federations", type=int, default=2000)
    arguments = parser.parse_args()
    os.nice(10)
    rng = np.random.default_rng(5)
    print("sites   auroc   spread | covered   width | site logits   width", flush=True)
    for sites in (3, 5, 8):
        for distance, spread in SETTINGS:
            true, ours, width, theirs, other = pooled_coverage(arguments.federations, sites, distance, spread, rng)
            line = f"{sites:5} {true:7.4f} {spread:8.1f} | {ours:7.3f} {width:7.4f} | {theirs:11.3f} {other:7.4f}"
            print(line, flush=True)
    print("\nsites      models | drawn rank   width | printed range   width", flush=True)
    for sites in (3, 5, 8):
        for name, ladder in LADDERS.items():
            found = rank_coverage(arguments.federations, sites, ladder, rng)
            drawn, printed = f"{found.drawn:10.3f} {found.drawn_width:7.2f}", f"{found.printed:13.3f}"
            print(f"{sites:5} {name:>11} | {drawn} | {printed} {found.printed_width:7.2f}", flush=True)


if __name__ == "__main__":
    main()
