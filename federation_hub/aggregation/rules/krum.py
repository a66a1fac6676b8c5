"""Krum and Multi-Krum (Blanchard et al. 2017): trust the updates that have the nearest neighbours.

An update's score is the sum of its squared distances to its ``n - liars - 2`` nearest others; the lower the better,
and of equal ones the first by silo id.
"""

from collections.abc import Sequence

import numpy as np

from federation_hub.aggregation.layout import Float64
from federation_hub.aggregation.rules.interface import Combine, Rule, Sites, squared_distances, weighted_sum
from silo_node.wire.strategies import Krum, MultiKrum


def krum(chosen: Krum) -> Rule:
    """Return the one update with the best score."""
    return Rule(lambda sites: _mean_of_best(sites, chosen.liars, 1))


def multi_krum(chosen: MultiKrum) -> Rule:
    """Return the mean of the ``n - liars - 2`` updates with the best scores."""
    return Rule(lambda sites: _mean_of_best(sites, chosen.liars, len(sites.silo_ids) - chosen.liars - 2))


def krum_scores(distances: Float64, liars: int) -> Float64:
    """Return the score of each of the updates whose squared distances are given; at least one neighbour counts."""
    neighbours = max(1, len(distances) - liars - 2)
    scores: Float64 = np.sort(distances, axis=1)[:, 1 : neighbours + 1].sum(axis=1)
    return scores


def krum_order(scores: Float64) -> Sequence[int]:
    """Return the places of the updates, the best score first."""
    return [int(place) for place in np.argsort(scores, kind="stable")]


def _mean_of_best(sites: Sites, liars: int, count: int) -> Combine:
    best = krum_order(krum_scores(squared_distances(sites.products), liars))[:count]
    coefficients = np.zeros(len(sites.silo_ids))
    coefficients[best] = 1.0
    return weighted_sum(coefficients, float(count))
