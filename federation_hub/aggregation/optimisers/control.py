"""SCAFFOLD at the hub (Karimireddy et al. 2020, option II), with silos weighted by their training cases.

A silo's control variate becomes ``c_i - c - update / (K * rate)`` at the silo, so the hub's, their weighted mean,
follows from the updates alone: ``c -= share * c + sum(w_i / W * update_i / (K_i * rate))``, where ``share`` is the part
of all training cases ``W`` whose silos answered. The paper's silos are of one size; weights here are those of the mean,
or the corrections would not cancel out.
"""

from collections.abc import Sequence

from federation_hub.aggregation.layout import Float32, Float64
from federation_hub.aggregation.optimisers.interface import Optimiser, Turnout
from federation_hub.aggregation.rules.interface import weighted_sum
from silo_node.wire.strategies import Scaffold

CONTROL = "control"
"""The moment that the silos fetch with the global model."""


def scaffold(chosen: Scaffold, turnout: Turnout) -> Optimiser:
    """Return the optimiser for a round with this turnout."""
    share = sum(turnout.weights) / turnout.population
    pulls = [
        weight / (turnout.population * steps * turnout.rate)
        for weight, steps in zip(turnout.weights, turnout.steps, strict=True)
    ]

    def step(base: Float32, change: Float64, moments: Sequence[Float64]) -> None:
        control, pulled = moments
        control *= 1 - share
        control -= pulled
        change *= chosen.learning_rate
        change += base

    return Optimiser(step, {CONTROL: 0.0}, weighted_sum(pulls))
