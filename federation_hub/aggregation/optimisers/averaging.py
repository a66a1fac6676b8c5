"""Federated averaging (McMahan et al. 2017): the combined update is added as it is."""

from collections.abc import Sequence

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64
from federation_hub.aggregation.optimisers.interface import Optimiser


def _step(base: Float32, change: Float64, moments: Sequence[Float64]) -> None:
    np.add(change, base, out=change)


AVERAGING = Optimiser(_step)
"""FedAvg; it keeps nothing."""
