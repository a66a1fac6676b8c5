"""challengeR's published example (Wiesenfarth et al., Sci. Rep. 2021; 11:2369): its data, ranked by what a hub gets.

The example in the package's README is drawn by R's generator from fixed seeds and shipped as ``data_matrix.csv``. It is
drawn again here and held against values of that file. What challengeR does with every case's score at hand is written
out from its definition; ours has the means and the covariance of each task, as a hospital sends them.
"""

from itertools import permutations

import numpy as np
import pytest
from scipy.special import expit, ndtri
from scipy.stats import rankdata, wilcoxon

from benchmarks.statistics.arrays import Floats, Integers
from benchmarks.statistics.moments import MetricTable
from benchmarks.statistics.ranking import expected_kendall_tau, mean_covariance, rank_distribution
from benchmarks.statistics.rules import MetricRule
from benchmarks.statistics.sensitivity import kendall_tau, rule_orders
from benchmarks.statistics.ties import compare, holm
from tests.unit.statistics.test_coverage import table_of_cases

CASES = 50


class RUniform:
    """R's ``set.seed`` and ``runif``: the Mersenne Twister numpy has too, with R's own way to fill its state."""

    def __init__(self, seed: int) -> None:
        words = []
        for _ in range(50 + 625):
            seed = (69069 * seed + 1) % 2**32
            words.append(seed)
        self._generator = np.random.RandomState()
        self._generator.set_state(("MT19937", np.array(words[51:], np.uint32), 624))

    def uniform(self, size: int, low: float = 0.0, high: float = 1.0) -> Floats:
        drawn = self._generator.randint(0, 2**32, size, np.uint32) * 2.3283064365386963e-10
        return low + (high - low) * drawn

    def normal(self, size: int) -> Floats:
        """Return ``rnorm``: R inverts a number of 54 bits, made of two draws."""
        pairs = self.uniform(2 * size).reshape(-1, 2)
        return np.asarray(ndtri((np.floor(2**27 * pairs[:, 0]) + pairs[:, 1]) / 2**27))


def tasks() -> dict[str, Floats]:
    """Return the example's three tasks, each with the scores (5 algorithms, cases)."""
    r = RUniform(4)
    r.uniform(CASES)
    ideal = [
        r.uniform(CASES, low, high) for low, high in ((0.9, 1), (0.8, 0.89), (0.7, 0.79), (0.6, 0.69), (0.5, 0.59))
    ]
    drawn = expit(1.5 + RUniform(1).normal(5 * CASES)).reshape(5, CASES)
    levels = np.linspace(0.8, 1, 5)
    worst = np.array([levels[np.argsort(order)] for order in (*list(permutations(range(5)))[1:], range(5))]).T
    return {"c_ideal": np.array(ideal), "c_random": drawn, "c_worstcase": worst}


TASKS = tasks()


def ranks(scores: Floats) -> Integers:
    """Return R's ``rank(-scores, ties.method = "min")``, as every ranking of the example has it."""
    return rankdata(-np.round(scores, 12), method="min", axis=0).astype(int)


def test_the_data_are_those_the_package_ships() -> None:
    """Values of ``inst/extdata/data_matrix.csv``."""
    shipped = {
        ("c_ideal", 0, 0): 0.938860999816097,
        ("c_ideal", 1, 0): 0.822808462230023,
        ("c_ideal", 4, 49): 0.51589159184834,
        ("c_random", 0, 13): 0.328561169875717,
        ("c_random", 1, 16): 0.424345754912836,
        ("c_random", 2, 5): 0.963289361992118,
    }
    for (task, algorithm, case), value in shipped.items():
        assert TASKS[task][algorithm, case] == pytest.approx(value, abs=1e-14)


def by_case(scores: Floats) -> MetricTable:
    """Return a table in which each case is a hospital of its own: then our rules are challengeR's."""
    names, places = tuple(f"A{row + 1}" for row in range(len(scores))), tuple(map(str, range(scores.shape[1])))
    return MetricTable(MetricRule("dice", True), names, places, scores, np.ones_like(scores), np.ones_like(scores), ())


@pytest.mark.parametrize("task", TASKS)
def test_the_rankings_of_the_example(task: str) -> None:
    """``aggregateThenRank(FUN = mean)`` and ``rankThenAggregate(FUN = mean)``, whole rank lists."""
    scores = TASKS[task]
    orders = {order.rule: order for order in rule_orders(by_case(scores), {})}
    assert orders["site_equal"].ranks.tolist() == ranks(scores.mean(axis=1)).tolist()
    assert orders["mean_of_ranks"].ranks.tolist() == ranks(-ranks(scores).mean(axis=1)).tolist()


def test_the_rank_lists_themselves() -> None:
    """One order that is certain, one that is chance, and one in which each algorithm takes each place equally often."""
    found = {task: rule_orders(by_case(scores), {})[0].ranks.tolist() for task, scores in TASKS.items()}
    assert found == {"c_ideal": [1, 2, 3, 4, 5], "c_random": [1, 2, 5, 3, 4], "c_worstcase": [1, 1, 1, 1, 1]}


@pytest.mark.parametrize("task", TASKS)
def test_the_stability_of_the_rankings(task: str) -> None:
    """The blob plot of ``bootstrap`` over cases, the rank intervals and Kendall's tau, out of the moments alone."""
    scores = TASKS[task]
    rng, table = np.random.default_rng(2), table_of_cases([scores])
    drawn = [scores[:, rng.integers(scores.shape[1], size=scores.shape[1])].mean(axis=1) for _ in range(1000)]
    bootstrapped = np.array([ranks(means) for means in drawn])
    ours = rank_distribution(table, seed=1)
    shares = np.stack([(bootstrapped == place).mean(axis=0) for place in range(1, 6)], axis=1)
    assert np.abs(shares - ours.counts / ours.counts.sum(axis=1, keepdims=True)).max() < 0.05
    ends = np.quantile(bootstrapped, [0.025, 0.975], axis=0, method="inverted_cdf")
    assert [ours.low.tolist(), ours.high.tolist()] == ends.astype(int).tolist()
    order = ranks(scores.mean(axis=1))
    tau = np.mean([kendall_tau(order, row) for row in bootstrapped])
    assert expected_kendall_tau(scores.mean(axis=1), mean_covariance(table)) == pytest.approx(tau, abs=0.03)


@pytest.mark.parametrize("task", TASKS)
def test_the_significance_map(task: str) -> None:
    """``testThenRank(alpha = 0.05, p.adjust.method = "holm")``: one-sided Wilcoxon tests; ours compares the means."""
    scores = TASKS[task]
    pairs = list(permutations(range(5), 2))
    p = np.array([wilcoxon(scores[row], scores[column], alternative="greater").pvalue for row, column in pairs])
    surely = np.zeros((5, 5), dtype=bool)
    for pair, adjusted in zip(pairs, holm(p), strict=True):
        surely[pair] = adjusted < 0.05
    assert compare(table_of_cases([scores])).ahead.tolist() == surely.tolist()
    assert surely.sum() == (10 if task == "c_ideal" else 0)
