"""FLTrust (Cao et al. 2021): an update counts as far as it points the way a trusted site's does.

The hub has no data, so the root of trust is one silo of the study. Trust is the cosine with its update, nought where
negative; every update is scaled to the root's length. The root's own counts with trust 1, so the sum is never empty.
"""

import numpy as np

from federation_hub.aggregation.rules.interface import Combine, Rule, Sites, weighted_sum
from silo_node.wire.strategies import FLTrust


def fltrust(chosen: FLTrust) -> Rule:
    """Return the rule with its root; preparing it raises ``ValueError`` for a round without the root's update."""

    def prepare(sites: Sites) -> Combine:
        root = sites.silo_ids.index(chosen.root)
        norms = sites.norms
        lengths = np.where(norms > 0, norms, 1.0)
        trust = np.maximum(sites.products[root] / (lengths * lengths[root]), 0.0)
        trust[root] = 1.0
        return weighted_sum(trust * norms[root] / lengths, float(trust.sum()))

    return Rule(prepare)
