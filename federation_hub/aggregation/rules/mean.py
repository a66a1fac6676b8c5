"""The mean weighted by registered training cases: ``sum(w_i * update_i) / sum(w_i)``.

A weight below 2**29 times a float32 value is exact in float64, so only the sums and the one division round.
"""

from federation_hub.aggregation.rules.interface import Combine, Rule, Sites, weighted_sum


def _prepare(sites: Sites) -> Combine:
    return weighted_sum(sites.weights, float(sum(sites.weights)))


MEAN = Rule(_prepare, needs="nothing")
"""The weighted mean."""
