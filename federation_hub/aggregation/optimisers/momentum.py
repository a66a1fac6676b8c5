"""FedAvgM (Hsu et al. 2019): ``m = momentum * m + change``, ``model += learning_rate * m``."""

from collections.abc import Sequence

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64
from federation_hub.aggregation.optimisers.interface import Optimiser
from silo_node.wire.strategies import FedAvgM


def momentum(chosen: FedAvgM) -> Optimiser:
    """Return the optimiser with these parameters."""

    def step(base: Float32, change: Float64, moments: Sequence[Float64]) -> None:
        (first,) = moments
        first *= chosen.momentum
        first += change
        np.multiply(first, chosen.learning_rate, out=change)
        change += base

    return Optimiser(step, {"first": 0.0})
