"""The one interface of the rules, and the two ways in which every one of them combines a block."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64

Combine = Callable[[Iterable[Float32], Float64], None]
"""``(updates, out)``: the same block of each update in the order of silo ids, each a view the next may overwrite."""


@dataclass(frozen=True)
class Sites:
    """What a rule may know of a round's updates, in the order of silo ids."""

    silo_ids: tuple[str, ...]
    weights: tuple[int, ...]
    products: Float64
    """The inner product of each two updates, where the rule asks for them; else empty."""


@dataclass(frozen=True)
class Rule:
    """Decide from what is known of a round how its blocks are combined."""

    prepare: Callable[[Sites], Combine]
    needs_products: bool = True


def weighted_sum(coefficients: Iterable[float], divisor: float = 1.0) -> Combine:
    """Return ``sum(c_i * update_i) / divisor``; updates with a coefficient of nought are passed over."""
    chosen = tuple(float(coefficient) for coefficient in coefficients)

    def combine(updates: Iterable[Float32], out: Float64) -> None:
        product = np.empty_like(out)
        out[:] = 0.0
        for coefficient, values in zip(chosen, updates, strict=True):
            if coefficient != 0.0:
                np.multiply(values, np.float64(coefficient), out=product, dtype=np.float64)
                np.add(out, product, out=out)
        np.divide(out, divisor, out=out)

    return combine


def by_coordinate(function: Callable[[Float64], Float64], rows: Sequence[int] | None = None) -> Combine:
    """Return ``function`` of the stacked blocks, sites along the first axis; of ``rows`` only, where given."""

    def combine(updates: Iterable[Float32], out: Float64) -> None:
        kept = [values.astype(np.float64) for row, values in enumerate(updates) if rows is None or row in rows]
        out[:] = function(np.stack(kept))

    return combine


def squared_distances(products: Float64) -> Float64:
    """Return the squared distance between each two updates."""
    squares = np.diag(products)
    distances: Float64 = np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0)
    np.fill_diagonal(distances, 0.0)
    return distances


def distances_from(products: Float64, mixture: Float64) -> Float64:
    """Return each update's distance from ``sum(mixture_i * update_i)``."""
    squares = np.diag(products) - 2 * (products @ mixture) + mixture @ products @ mixture
    distances: Float64 = np.sqrt(np.maximum(squares, 0.0))
    return distances
