"""Rank uncertainty by draws, against closed forms and drawing each site by itself."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics.blocks import SiteBlock
from benchmarks.statistics.moments import MetricTable, metric_table
from benchmarks.statistics.ranking import (
    comparison_set,
    expected_kendall_tau,
    mean_covariance,
    rank_distribution,
)
from benchmarks.statistics.rules import MetricRule

from .made_up import model_digest, simple_block

AUROC, BRIER = MetricRule("auroc", primary=True), MetricRule("brier", primary=True)


def table_of(blocks: list[SiteBlock], models: int, rule: MetricRule = AUROC) -> MetricTable:
    return metric_table(blocks, [model_digest(index) for index in range(models)], rule, label="ill")


def blocks_of(theta: np.ndarray, *, correlation: float = 0.6, metric: str = "auroc") -> list[SiteBlock]:
    return [simple_block(site, row, correlation=correlation, metric=metric) for site, row in enumerate(theta)]


THETA = np.array([[0.86, 0.85, 0.80, 0.70], [0.84, 0.84, 0.79, 0.71], [0.87, 0.86, 0.82, 0.69]])


def test_two_models_have_the_closed_form_probability() -> None:
    """P(a ahead of b) = Phi(d / sd(d)), with the covariance in sd(d)."""
    table = table_of(blocks_of(THETA[:, :2]), 2)
    found = rank_distribution(table, seed=1)
    cov = mean_covariance(table)
    difference = THETA[:, 0].mean() - THETA[:, 1].mean()
    expected = stats.norm.cdf(difference / np.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]))
    assert found.best == pytest.approx([expected, 1 - expected], abs=0.015)


def test_drawing_the_mean_is_drawing_each_site() -> None:
    """The same probabilities as 20,000 draws at every site, averaged and ranked."""
    table = table_of(blocks_of(THETA), 4)
    rng = np.random.default_rng(9)
    draws = sum(
        rng.multivariate_normal(table.theta[block.members, block.site], block.cov, 20_000)
        for block in table.covariances
    )
    ranks = stats.rankdata(-np.asarray(draws), axis=1)
    found = rank_distribution(table, seed=1)
    np.testing.assert_allclose(found.best, (ranks == 1).mean(axis=0), atol=0.02)
    np.testing.assert_allclose(found.top3, (ranks <= 3).mean(axis=0), atol=0.02)
    assert found.low.tolist() == np.quantile(ranks, 0.025, axis=0).astype(int).tolist()
    assert found.high.tolist() == np.quantile(ranks, 0.975, axis=0).astype(int).tolist()


def test_without_the_covariance_between_models_the_leader_looks_less_sure() -> None:
    """Models err on the same cases: the reason why a site sends a matrix and not a column."""
    with_it, without = (
        rank_distribution(table_of(blocks_of(THETA, correlation=r), 4), seed=1).best[0] for r in (0.9, 0.0)
    )
    assert with_it > without + 0.1


def test_where_lower_is_better_the_lowest_leads() -> None:
    blocks = blocks_of(1 - THETA, metric="brier")
    found = rank_distribution(table_of(blocks, 4, BRIER), seed=1)
    assert found.best.argmax() == 0
    assert found.low[3] == 4


def test_two_equal_models_share_the_first_place() -> None:
    found = rank_distribution(table_of(blocks_of(np.full((3, 2), 0.8), correlation=1.0), 2), seed=1)
    assert abs(found.best[0] - found.best[1]) < 0.05
    assert found.best.min() > 0.95


def test_the_same_seed_gives_the_same_numbers_and_another_almost() -> None:
    table = table_of(blocks_of(THETA), 4)
    first, again, other = (rank_distribution(table, seed=seed) for seed in (1, 1, 2))
    assert first.best.tolist() == again.best.tolist()
    assert first.best.tolist() != other.best.tolist()
    np.testing.assert_allclose(first.best, other.best, atol=0.03)


def test_expected_kendall_tau_is_the_mean_over_draws() -> None:
    rng = np.random.default_rng(0)
    mean, root = np.array([0.85, 0.84, 0.80, 0.79]), rng.standard_normal((4, 4)) / 60
    cov = root @ root.T
    draws = rng.multivariate_normal(mean, cov, 1000)
    expected = np.mean([stats.kendalltau(mean, draw).statistic for draw in draws])
    assert expected_kendall_tau(mean, cov) == pytest.approx(expected, abs=0.03)


class TestComparisonSet:
    def test_without_gaps_it_is_everything(self) -> None:
        models, sites = comparison_set(np.ones((3, 4), dtype=bool))
        assert models.all()
        assert sites.all()

    def test_a_model_that_lacks_a_site_is_left_out(self) -> None:
        present = np.ones((4, 3), dtype=bool)
        present[3, 2] = False
        models, sites = comparison_set(present)
        assert models.tolist() == [True, True, True, False]
        assert sites.all()

    def test_a_site_that_has_seen_one_model_only_is_left_out(self) -> None:
        present = np.ones((4, 4), dtype=bool)
        present[1:, 3] = False
        models, sites = comparison_set(present)
        assert models.all()
        assert sites.tolist() == [True, True, True, False]

    def test_no_reports_no_comparison(self) -> None:
        models, sites = comparison_set(np.zeros((2, 0), dtype=bool))
        assert not models.any()
        assert not sites.any()


class TestMetricTable:
    def test_a_later_block_of_a_site_replaces_the_earlier_one(self) -> None:
        blocks = [
            simple_block(0, [0.5, 0.6], finished="2026-02"),
            simple_block(0, [0.7, 0.8, 0.9], finished="2026-03"),
            simple_block(0, [0.1, 0.1], finished="2026-01"),
        ]
        assert table_of(blocks, 3).theta[:, 0].tolist() == [0.7, 0.8, 0.9]

    def test_models_of_two_blocks_have_no_known_covariance(self) -> None:
        blocks = [simple_block(0, [0.5], models=[0]), simple_block(0, [0.7], models=[1], finished="2027")]
        cross = list(table_of(blocks, 2).cross_covariances())
        assert cross[0][:, 0].tolist() == pytest.approx([0.02**2, 0.0])

    def test_a_perfect_estimate_is_not_certain(self) -> None:
        block = simple_block(0, [1.0, 0.9], se=0.0)
        variance = table_of([block], 2).variance[:, 0]
        assert variance[0] == pytest.approx(2 * 0.5 / 10_001 / 10_001, rel=1e-3)
        assert variance[1] == 0.0
