"""Differences, tie groups and printed ranks."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from benchmarks.statistics.moments import metric_table
from benchmarks.statistics.pooling import pool
from benchmarks.statistics.rules import MetricRule
from benchmarks.statistics.ties import Comparisons, compare, holm, rank_text, standings

from .made_up import model_digest, simple_block
from .test_ranking import AUROC, THETA, blocks_of, table_of

NAMES = ["delta", "alpha", "charlie", "bravo"]


def separated(*pairs: tuple[int, int], models: int = 3) -> Comparisons:
    """Models in falling order of which only the given pairs are surely different, the first ahead."""
    estimate = -np.arange(models, dtype=float)
    difference = np.subtract.outer(estimate, estimate)
    np.fill_diagonal(difference, np.nan)
    ahead = np.zeros((models, models), dtype=bool)
    for a, b in pairs:
        ahead[a, b] = True
    return Comparisons(
        1.0, difference, difference, difference, np.ones((models, models)), ahead, np.ones_like(ahead) * 3
    )


class TestDifferences:
    def test_a_difference_is_pooled_from_the_joint_covariance(self) -> None:
        table = table_of(blocks_of(THETA, correlation=0.6), 4)
        found = compare(table)
        variance = np.full(3, 2 * 0.02**2 * (1 - 0.6))
        expected = pool(THETA[:, 0] - THETA[:, 2], variance)
        assert found.difference[0, 2] == pytest.approx(expected.mean)
        assert found.high[0, 2] - found.low[0, 2] == pytest.approx(2 * expected.quantile * expected.se)

    def test_a_difference_is_its_mirrors_negative(self) -> None:
        found = compare(table_of(blocks_of(THETA), 4))
        np.testing.assert_allclose(found.difference, -found.difference.T)
        np.testing.assert_allclose(found.low, -found.high.T)

    def test_only_common_sites_count(self) -> None:
        blocks = [simple_block(0, [0.9, 0.8]), simple_block(1, [0.8, 0.7]), simple_block(2, [0.2], models=[0])]
        found = compare(table_of(blocks, 2))
        assert found.sites[0, 1] == 2
        assert found.difference[0, 1] == pytest.approx(0.1)

    def test_models_without_a_common_site_are_not_compared(self) -> None:
        blocks = [simple_block(0, [0.9], models=[0]), simple_block(1, [0.2], models=[1])]
        found = compare(table_of(blocks, 2))
        assert np.isnan(found.difference[0, 1])
        assert {(one.low, one.high) for one in standings(found, ["a", "b"])} == {(1, 2)}

    def test_a_difference_at_too_few_sites_is_for_those_sites_to_publish(self) -> None:
        table = table_of([simple_block(0, [0.9, 0.8]), simple_block(1, [0.9, 0.8])], 2)
        assert np.isnan(compare(table, minimum_sites=3).difference[0, 1])
        for tellable, told in (([True, False], False), ([True, True], True)):
            found = compare(table, tellable=np.array(tellable), minimum_sites=3)
            assert np.isfinite(found.difference[0, 1]) == told


def test_holms_adjustment_is_statsmodels() -> None:
    p = np.random.default_rng(0).uniform(0, 0.1, 20)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_tests_that_were_not_made_do_not_count_in_the_adjustment() -> None:
    assert holm(np.array([0.01, np.nan, 0.03])).tolist() == pytest.approx([0.02, np.nan, 0.03], nan_ok=True)


class TestStandings:
    def test_clearly_different_models_have_ranks_of_their_own(self) -> None:
        theta = np.array([0.9, 0.7, 0.5, 0.3]) + np.array([[0.0], [0.01], [-0.01]])
        found = standings(compare(table_of(blocks_of(theta), 4)), NAMES)
        assert [(one.model, one.low, one.high) for one in found] == [(0, 1, 1), (1, 2, 2), (2, 3, 3), (3, 4, 4)]

    def test_indistinguishable_models_are_one_group_in_the_order_of_their_names(self) -> None:
        """Sorting by score inside a tie would print an order that nothing supports."""
        theta = np.array([0.803, 0.802, 0.801, 0.8]) + np.array([[0.0], [0.02], [-0.02]])
        found = standings(compare(table_of(blocks_of(theta), 4)), NAMES)
        assert [NAMES[one.model] for one in found] == ["alpha", "bravo", "charlie", "delta"]
        assert {(one.group, one.low, one.high) for one in found} == {(0, 1, 4)}

    def test_a_chain_of_ties_is_cut_where_the_groups_first_is_surely_better(self) -> None:
        """a and b are tied, b and c are tied, a is ahead of c: c opens a group, and may still be second."""
        found = standings(separated((0, 2)), ["a", "b", "c"])
        assert [(one.model, one.group, one.low, one.high) for one in found] == [
            (0, 0, 1, 2),
            (1, 0, 1, 3),
            (2, 1, 2, 3),
        ]

    def test_where_lower_is_better_the_lowest_is_first(self) -> None:
        blocks = blocks_of(np.array([[0.9, 0.1], [0.91, 0.11], [0.89, 0.09]]), metric="brier")
        table = metric_table(blocks, [model_digest(0), model_digest(1)], MetricRule("brier"), label="ill")
        assert [one.model for one in standings(compare(table), ["a", "b"])] == [1, 0]

    def test_one_model_alone_is_first(self) -> None:
        (only,) = standings(compare(table_of(blocks_of(THETA[:, :1]), 1)), ["a"])
        assert (only.low, only.high) == (1, 1)

    def test_no_models_no_standings(self) -> None:
        assert standings(compare(metric_table([], [], AUROC, label="ill")), []) == []


@pytest.mark.parametrize(("low", "high", "text"), [(1, 1, "1"), (1, 3, "1-3")])
def test_ranks_are_printed_as_ranges(low: int, high: int, text: str) -> None:
    assert rank_text(low, high) == text
