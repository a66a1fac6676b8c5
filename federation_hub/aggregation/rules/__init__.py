"""How one update is made of many, one small file each behind one interface.

A rule first learns what it may know of a round's updates: whose they are, their weights and, if it asks, their inner
products, which one pass over the files gives. Every distance, norm and cosine a robust rule needs follows from those,
so no rule ever holds updates in memory. It then combines block after block, each value by itself.

Except for the mean and norm clipping every site counts the same: a rule that heeded the number of cases would hold
only as long as no large site lies.
"""

from federation_hub.aggregation.rules.bulyan import bulyan
from federation_hub.aggregation.rules.centred_clipping import centred_clipping
from federation_hub.aggregation.rules.coordinates import coordinate_median, trimmed_mean
from federation_hub.aggregation.rules.fltrust import fltrust
from federation_hub.aggregation.rules.geometric_median import geometric_median
from federation_hub.aggregation.rules.interface import Combine, Rule, Sites
from federation_hub.aggregation.rules.krum import krum, multi_krum
from federation_hub.aggregation.rules.mean import MEAN
from federation_hub.aggregation.rules.norm_clipping import norm_clipping
from silo_node.wire.strategies import (
    Bulyan,
    CentredClipping,
    Combination,
    CoordinateMedian,
    FLTrust,
    GeometricMedian,
    Krum,
    Mean,
    MultiKrum,
    NormClipping,
    TrimmedMean,
)

__all__ = ["MEAN", "Combine", "Rule", "Sites", "rule_for"]


def rule_for(chosen: Combination) -> Rule:
    """Return the rule a plan names, with its parameters."""
    match chosen:
        case Mean():
            return MEAN
        case NormClipping():
            return norm_clipping(chosen)
        case CoordinateMedian():
            return coordinate_median()
        case TrimmedMean():
            return trimmed_mean(chosen)
        case GeometricMedian():
            return geometric_median(chosen)
        case CentredClipping():
            return centred_clipping(chosen)
        case Krum():
            return krum(chosen)
        case MultiKrum():
            return multi_krum(chosen)
        case Bulyan():
            return bulyan(chosen)
        case FLTrust():
            return fltrust(chosen)
