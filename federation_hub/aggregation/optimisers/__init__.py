"""What the hub does with the combined update of a round, one small file each behind one interface.

An optimiser sees one block of values at a time: the global model's, the combined update's, and its own moments of the
same values. It must treat each value by itself, so that the result does not depend on where blocks begin. Moments are
kept as float32 files of the global model's own names and shapes, and are committed with the round that made them.
"""

from federation_hub.aggregation.optimisers.adaptive import adagrad, adam, yogi
from federation_hub.aggregation.optimisers.averaging import AVERAGING
from federation_hub.aggregation.optimisers.control import CONTROL, scaffold
from federation_hub.aggregation.optimisers.interface import Optimiser, Turnout
from federation_hub.aggregation.optimisers.momentum import momentum
from silo_node.wire.strategies import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi, Scaffold, Strategy

__all__ = ["AVERAGING", "CONTROL", "Optimiser", "Turnout", "optimiser_for"]


def optimiser_for(strategy: Strategy, turnout: Turnout) -> Optimiser:
    """Return the optimiser a plan names, with its parameters, for a round with this turnout."""
    match strategy:
        case FedAvg():
            return AVERAGING
        case FedAvgM():
            return momentum(strategy)
        case FedAdagrad():
            return adagrad(strategy)
        case FedAdam():
            return adam(strategy)
        case FedYogi():
            return yogi(strategy)
        case Scaffold():
            return scaffold(strategy, turnout)
