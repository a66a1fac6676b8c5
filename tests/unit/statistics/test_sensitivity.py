"""Whether the order hangs on the rule."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics.sensitivity import kendall_tau, rule_orders, rules_within

from .made_up import simple_block
from .test_ranking import table_of


def test_weights_and_ranks_can_turn_the_order_around() -> None:
    """b is a little better at two small sites, a is much better at the large one."""
    theta = [[0.90, 0.70], [0.80, 0.81], [0.80, 0.81]]
    found = [simple_block(site, row, cases=1000 if site == 0 else 100) for site, row in enumerate(theta)]
    orders = {order.rule: order.ranks.tolist() for order in rule_orders(table_of(found, 2), {})}
    assert orders == {"site_equal": [1, 2], "case_weighted": [1, 2], "mean_of_ranks": [2, 1]}


def test_the_share_of_rules_is_counted_within_the_printed_range() -> None:
    orders = rule_orders(table_of([simple_block(0, [0.9, 0.8, 0.7])], 3), {})
    assert rules_within(orders, 0, 1, 1) == 3
    assert rules_within(orders, 0, 2, 3) == 0


def test_equal_scores_share_the_better_rank() -> None:
    (first, *_) = rule_orders(table_of([simple_block(0, [0.8, 0.8, 0.7])], 3), {})
    assert first.ranks.tolist() == [1, 1, 3]


def test_kendall_tau_is_scipys_where_there_are_no_ties() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.permutation(9), rng.permutation(9)
    assert kendall_tau(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)
