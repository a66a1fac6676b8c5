"""The weighted mean of clipped updates: a longer one is scaled down to the radius, so no site pulls further."""

import numpy as np

from federation_hub.aggregation.rules.interface import Combine, Rule, Sites, weighted_sum
from silo_node.wire.strategies import NormClipping


def norm_clipping(chosen: NormClipping) -> Rule:
    """Return the rule: ``sum(w_i * update_i * min(1, radius / |update_i|)) / sum(w_i)``."""

    def prepare(sites: Sites) -> Combine:
        scales = chosen.radius / np.maximum(sites.norms, chosen.radius)
        return weighted_sum(np.array(sites.weights) * scales, float(sum(sites.weights)))

    return Rule(prepare, needs="norms")
