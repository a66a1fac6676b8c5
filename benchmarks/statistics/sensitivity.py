"""Whether the order hangs on the rule by which it was made (Maier-Hein et al., Nat. Commun. 2018; 9:5217)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.arrays import Floats, Integers
from benchmarks.statistics.moments import MetricTable
from benchmarks.statistics.quantities import publishes

_DIGITS = 12


@dataclass(frozen=True, slots=True, eq=False)
class RuleOrder:
    """The ranks (m,) one rule gives, equal scores sharing the better rank, and its agreement with the first rule."""

    rule: str
    ranks: Integers
    kendall_tau: float


@publishes(
    "sensitivity",
    "ranks",
    "rules_within",
    "rules",
    title="Other rules of ranking",
    formula="ranks by site-equal mean, case-weighted mean, mean of ranks, and the first secondary metric",
    source="Maier-Hein et al. 2018",
    words="The order each rule gives, and how many of the rules rank a model within its printed range.",
)
def rule_orders(table: MetricTable, secondary: Mapping[str, MetricTable]) -> list[RuleOrder]:
    """Rank the models of a table without gaps by each rule; the first is the one the leaderboard uses.

    Site-equal mean; case-weighted mean; mean of the ranks at each site; and the site-equal mean of the first
    ``secondary`` metric that every model has at every site.
    """
    higher = table.rule.sign * table.theta
    scores = {
        "site_equal": higher.mean(axis=1),
        "case_weighted": (higher * table.cases).sum(axis=1) / table.cases.sum(axis=1),
        "mean_of_ranks": -np.mean([_mean_ranks(column) for column in higher.T], axis=0),
    }
    for name, other in secondary.items():
        if other.present.all() and other.models == table.models:
            scores[name] = other.rule.sign * other.theta.mean(axis=1)
            break
    ranks = {rule: _ranks(score) for rule, score in scores.items()}
    return [RuleOrder(rule, own, kendall_tau(ranks["site_equal"], own)) for rule, own in ranks.items()]


def rules_within(orders: Sequence[RuleOrder], model: int, low: int, high: int) -> int:
    """Return how many rules rank the model within its printed range."""
    return sum(low <= int(order.ranks[model]) <= high for order in orders)


def kendall_tau(first: Integers, second: Integers) -> float:
    """Return tau-a: agreeing less disagreeing pairs over all pairs; a pair tied in either counts as neither."""
    if len(first) < 2:
        return 1.0
    pairs = np.triu_indices(len(first), 1)
    signs = [np.sign(ranks[pairs[0]] - ranks[pairs[1]]) for ranks in (first, second)]
    return float(np.mean(signs[0] * signs[1]))


def _ranks(score: Floats) -> Integers:
    held = np.round(score, _DIGITS)
    return 1 + held.size - np.searchsorted(np.sort(held), held, side="right")


def _mean_ranks(score: Floats) -> Floats:
    held = np.round(score, _DIGITS)
    ordered = np.sort(held)
    below, upto = np.searchsorted(ordered, held, side="left"), np.searchsorted(ordered, held, side="right")
    return np.asarray(held.size - (below + upto - 1) / 2)
