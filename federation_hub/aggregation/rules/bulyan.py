"""Bulyan (El Mhamdi et al. 2018): Krum picks ``n - 2 * liars`` updates one by one, each value is then trimmed.

Of the picked updates' values, the ``n - 4 * liars`` nearest to their median are averaged. An attacker who passes Krum
by changing a few values a great deal is cut off there.
"""

import numpy as np

from federation_hub.aggregation.layout import Float64
from federation_hub.aggregation.rules.interface import Combine, Rule, Sites, by_coordinate, squared_distances
from federation_hub.aggregation.rules.krum import krum_order, krum_scores
from silo_node.wire.strategies import Bulyan


def bulyan(chosen: Bulyan) -> Rule:
    """Return the rule with its number of liars."""

    def prepare(sites: Sites) -> Combine:
        count = len(sites.silo_ids)
        rows = picked(squared_distances(sites.products), chosen.liars, count - 2 * chosen.liars)
        return by_coordinate(lambda stack: nearest_to_median(stack, count - 4 * chosen.liars), rows)

    return Rule(prepare)


def picked(distances: Float64, liars: int, count: int) -> list[int]:
    """Return the places of ``count`` updates, taking Krum's best of those that are left again and again."""
    left, chosen = list(range(len(distances))), []
    for _ in range(count):
        best = krum_order(krum_scores(distances[np.ix_(left, left)], liars))[0]
        chosen.append(left.pop(best))
    return chosen


def nearest_to_median(stack: Float64, count: int) -> Float64:
    """Return the mean of each column's ``count`` values nearest to its median; of equal distances the lower value."""
    stack = np.sort(stack, axis=0)
    median = (stack[(len(stack) - 1) // 2] + stack[len(stack) // 2]) / 2
    order = np.argsort(np.abs(stack - median), axis=0, kind="stable")[:count]
    mean: Float64 = np.take_along_axis(stack, order, axis=0).mean(axis=0)
    return mean
