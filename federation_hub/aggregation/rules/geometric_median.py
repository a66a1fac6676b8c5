"""The geometric median by smoothed Weiszfeld steps (RFA, Pillutla et al. 2022).

Each step weighs every update by the inverse of its distance from the present point. The point is always a mixture of
the updates, so its distances follow from their inner products and no step reads the files again.
"""

import numpy as np

from federation_hub.aggregation.rules.interface import Combine, Rule, Sites, distances_from, weighted_sum
from silo_node.wire.strategies import GeometricMedian


def geometric_median(chosen: GeometricMedian) -> Rule:
    """Return the rule with its number of steps and its smoothing."""

    def prepare(sites: Sites) -> Combine:
        count = len(sites.silo_ids)
        mixture = np.full(count, 1.0 / count)
        for _ in range(chosen.steps):
            nearness = 1.0 / np.maximum(distances_from(sites.products, mixture), chosen.smoothing)
            mixture = nearness / nearness.sum()
        return weighted_sum(mixture)

    return Rule(prepare)
