"""Mixing a site's own model with its neighbours' files, one file in memory at a time."""

from collections.abc import Callable
from math import inf, sqrt
from pathlib import Path

import numpy as np
from torch import nn

from pipelines.errors import PipelineError
from pipelines.job import Mixed, Mixing, Neighbourhood
from pipelines.neighbours.rules import (
    Balance,
    Gossip,
    NeighbourRule,
    SelfCentredClipping,
    Surroundings,
    Ubar,
    observed_gamma,
)
from pipelines.networks import Arrays, read_weights

LEAST_GAMMA = 1e-6
"""Equal models would give a radius of nought, and nobody would ever be listened to again."""


def mix(
    own: Arrays, around: Neighbourhood, network: nn.Module, loss: Callable[[Arrays], float]
) -> tuple[Arrays, Mixed]:
    """Return the mixed model and how it came about.

    Buffers (running statistics) are mixed as the parameters are, but say nothing about distances. A neighbour's file
    that does not fit the network raises; one that is not finite counts as infinitely far.
    """
    names = {name for name, _ in network.named_parameters(remove_duplicate=False)} & set(own)
    if not around.beside:
        return own, Mixed(pulls=(), gamma=around.mixing.gamma)
    seen = _surroundings(own, around, network, names, loss if around.mixing.name == "ubar" else None)
    gamma = _gamma(around.mixing, seen)
    pulls = _rule(around.mixing, gamma).pulls(seen)
    mixed = {name: array.astype(np.float64) for name, array in own.items()}
    for path, pull in zip(around.beside, pulls, strict=True):
        if pull > 0:
            for name, array in read_weights(path, network).items():
                mixed[name] += float(pull) * (array.astype(np.float64) - own[name])
    result = {name: array.astype(np.float32) for name, array in mixed.items()}
    return result, Mixed(pulls=tuple(float(pull) for pull in pulls), gamma=gamma)


def trained_model(start: Arrays, update: Arrays | None) -> Arrays:
    """Return the whole model after a round: where nothing was trained, the mixed one."""
    return start if update is None else {name: start[name] + update[name] for name in start}


def _surroundings(
    own: Arrays,
    around: Neighbourhood,
    network: nn.Module,
    names: set[str],
    loss: Callable[[Arrays], float] | None,
) -> Surroundings:
    distances, losses = [], []
    for path in around.beside:
        model = _finite(path, network)
        distances.append(inf if model is None else _length({name: model[name] - own[name] for name in names}))
        if loss is not None:
            losses.append(inf if model is None else loss(model))
    return Surroundings(
        distances=np.array(distances),
        own_length=_length({name: own[name] for name in names}),
        progress=around.progress,
        own_loss=0.0 if loss is None else loss(own),
        losses=None if loss is None else np.array(losses),
    )


def _finite(path: Path, network: nn.Module) -> Arrays | None:
    try:
        return read_weights(path, network)
    except PipelineError as error:
        if error.code != "weights-invalid":
            raise
        return None


def _gamma(mixing: Mixing, seen: Surroundings) -> float | None:
    if mixing.name != "balance" or mixing.gamma is not None:
        return mixing.gamma
    return max(observed_gamma(seen.ratios), LEAST_GAMMA)


def _rule(mixing: Mixing, gamma: float | None) -> NeighbourRule:
    match mixing.name:
        case "gossip":
            return Gossip()
        case "balance":
            return Balance(gamma or LEAST_GAMMA, mixing.kappa, mixing.alpha)
        case "ubar":
            return Ubar(mixing.honest, mixing.alpha)
        case "self_centred_clipping":
            return SelfCentredClipping(mixing.liars)


def _length(arrays: Arrays) -> float:
    return sqrt(sum(float(np.vdot(wide, wide)) for wide in (a.astype(np.float64).ravel() for a in arrays.values())))
