"""Centred clipping (Karimireddy et al. 2021), centred on the global model, so that nothing need be remembered.

``v = v + mean((update_i - v) * min(1, radius / |update_i - v|))``, from ``v = 0``. The point is always a mixture of
the updates, so no step reads the files again.
"""

import numpy as np

from federation_hub.aggregation.rules.interface import Combine, Rule, Sites, distances_from, weighted_sum
from silo_node.wire.strategies import CentredClipping


def centred_clipping(chosen: CentredClipping) -> Rule:
    """Return the rule with its radius and number of steps."""

    def prepare(sites: Sites) -> Combine:
        mixture = np.zeros(len(sites.silo_ids))
        for _ in range(chosen.steps):
            distances = distances_from(sites.products, mixture)
            scales = chosen.radius / np.maximum(distances, chosen.radius)
            mixture = mixture + (scales - mixture * scales.sum()) / len(mixture)
        return weighted_sum(mixture)

    return Rule(prepare)
