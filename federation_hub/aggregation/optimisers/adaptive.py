"""FedAdagrad, FedAdam and FedYogi (Reddi et al. 2021, algorithm 2): one step that differs in its second moment.

``m = beta1 * m + (1 - beta1) * change``, then ``v`` by one of the three, then
``model += learning_rate * m / (sqrt(v) + adaptivity)``. ``v`` starts at ``adaptivity ** 2``, as in the paper, and the
bias of the moments is not corrected.
"""

from collections.abc import Callable, Sequence

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64
from federation_hub.aggregation.optimisers.interface import Optimiser
from silo_node.wire.strategies import FedAdagrad, FedAdam, FedYogi

SecondMoment = Callable[[Float64, Float64], None]
"""Change the second moment in place, given the squares of the change."""


def adagrad(chosen: FedAdagrad) -> Optimiser:
    """Return Adagrad: ``v += change ** 2``."""

    def second_moment(second: Float64, square: Float64) -> None:
        second += square

    return _adaptive(chosen, second_moment)


def adam(chosen: FedAdam) -> Optimiser:
    """Return Adam: ``v = beta2 * v + (1 - beta2) * change ** 2``."""

    def second_moment(second: Float64, square: Float64) -> None:
        second *= chosen.beta2
        second += (1 - chosen.beta2) * square

    return _adaptive(chosen, second_moment)


def yogi(chosen: FedYogi) -> Optimiser:
    """Return Yogi: ``v -= (1 - beta2) * change ** 2 * sign(v - change ** 2)``."""

    def second_moment(second: Float64, square: Float64) -> None:
        second -= (1 - chosen.beta2) * square * np.sign(second - square)

    return _adaptive(chosen, second_moment)


def _adaptive(chosen: FedAdagrad | FedAdam | FedYogi, second_moment: SecondMoment) -> Optimiser:
    def step(base: Float32, change: Float64, moments: Sequence[Float64]) -> None:
        first, second = moments
        first *= chosen.beta1
        first += (1 - chosen.beta1) * change
        second_moment(second, change * change)
        np.sqrt(second, out=change)
        change += chosen.adaptivity
        np.divide(first, change, out=change)
        change *= chosen.learning_rate
        change += base

    return Optimiser(step, {"first": 0.0, "second": chosen.adaptivity**2})
