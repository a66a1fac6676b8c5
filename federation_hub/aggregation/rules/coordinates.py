"""The median and the trimmed mean of each value by itself (Yin et al. 2018)."""

from federation_hub.aggregation.layout import Float64
from federation_hub.aggregation.rules.interface import Rule, by_coordinate
from silo_node.wire.strategies import TrimmedMean


def coordinate_median() -> Rule:
    """Return the median; of an even number of sites, the mean of the middle two."""
    return Rule(lambda sites: by_coordinate(_median), needs_products=False)


def trimmed_mean(chosen: TrimmedMean) -> Rule:
    """Return the mean without the ``liars`` largest and smallest values."""
    cut = chosen.liars

    def trimmed(stack: Float64) -> Float64:
        stack.sort(axis=0)
        mean: Float64 = stack[cut : len(stack) - cut].mean(axis=0)
        return mean

    return Rule(lambda sites: by_coordinate(trimmed), needs_products=False)


def _median(stack: Float64) -> Float64:
    stack.sort(axis=0)
    middle: Float64 = (stack[(len(stack) - 1) // 2] + stack[len(stack) // 2]) / 2
    return middle
