"""The published intervals hold the truth as often as they say, in federations simulated from scores."""

import numpy as np

from benchmarks.statistics.arrays import Floats
from benchmarks.statistics.moments import MetricTable, SiteCovariance
from benchmarks.statistics.ranking import rank_distribution
from benchmarks.statistics.rules import MetricRule
from benchmarks.statistics.segmentation import clustered_mean
from tests.performance.coverage import pooled_coverage, rank_coverage
from tests.unit.statistics.made_up import measured


def test_the_pooled_interval_and_both_rank_intervals_hold_the_truth() -> None:
    """300 federations of five hospitals; the bound leaves room for chance (three standard errors)."""
    rng = np.random.default_rng(1)
    held = pooled_coverage(300, 5, 2.3, 0.3, rng)[1]
    ranks = rank_coverage(150, 5, (2.2, 2.1, 2.0, 1.9), rng)
    assert min(held, ranks.drawn, ranks.printed) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)
    assert ranks.drawn_width < ranks.printed_width < 3.01


def table_of_cases(sites: list[Floats]) -> MetricTable:
    """The moments a hub gets of each site's scores (models, cases)."""
    moments = [clustered_mean(scores, np.arange(scores.shape[1])) for scores in sites]
    blocks = tuple(SiteCovariance(site, np.arange(len(cov)), cov) for site, (_, cov) in enumerate(moments))
    theta, variance = np.stack([mean for mean, _ in moments], 1), np.stack([np.diag(cov) for _, cov in moments], 1)
    names = tuple("abcdefgh"[: len(theta)])
    places = tuple(str(site) for site in range(len(sites)))
    return MetricTable(MetricRule("dice", True), names, places, theta, variance, np.full(theta.shape, 120.0), blocks)


def test_draws_from_the_moments_rank_as_challenger_does_from_the_cases() -> None:
    """challengeR resamples cases and ranks the means (Wiesenfarth et al. 2021); the moments are enough for that."""
    sites = [measured(120, models=4, seed=site).values["dice"].mean(axis=2) for site in range(4)]
    table = table_of_cases(sites)
    ours = rank_distribution(table, seed=3)
    rng = np.random.default_rng(4)
    ranks = np.empty((3000, 4))
    for index in range(len(ranks)):
        drawn = [site[:, rng.integers(site.shape[1], size=site.shape[1])].mean(axis=1) for site in sites]
        means = np.mean(drawn, axis=0)
        ranks[index] = 1 + (means[None, :] > means[:, None]).sum(axis=1)
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="inverted_cdf")
    assert np.abs(ours.best - (ranks == 1).mean(axis=0)).max() < 0.03
    assert (np.abs(ours.low - low) <= 1).all()
    assert (np.abs(ours.high - high) <= 1).all()
