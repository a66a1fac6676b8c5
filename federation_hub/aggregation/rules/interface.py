"""The one interface of the rules, and the two ways in which every one of them combines a block."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64

Combine = Callable[[Sequence[Float32], Float64], None]
"""``(updates, out)``: the same block of each update in the order of silo ids, none of which may be changed."""

Needs = Literal["nothing", "norms", "products"]
"""What a rule must know of all values before the first block is combined; anything costs a pass over the updates."""


@dataclass(frozen=True)
class Sites:
    """What a rule may know of a round's updates, in the order of silo ids."""

    silo_ids: tuple[str, ...]
    weights: tuple[int, ...]
    products: Float64
    """The inner product of each two updates, where the rule asks for them; else empty. For a rule that asks for norms
    only, nought beside the diagonal."""

    @property
    def norms(self) -> Float64:
        """The length of each update."""
        lengths: Float64 = np.sqrt(np.diag(self.products))
        return lengths


@dataclass(frozen=True)
class Rule:
    """Decide from what is known of a round how its blocks are combined."""

    prepare: Callable[[Sites], Combine]
    needs: Needs = "products"


def weighted_sum(coefficients: Iterable[float], divisor: float = 1.0) -> Combine:
    """Return ``sum(c_i * update_i) / divisor``; updates with a coefficient of nought are passed over.

    Each block is widened by itself first: numpy converts in one straight loop, but in small pieces inside a sum or a
    product of two precisions, which takes twice as long.
    """
    chosen = [(row, float(coefficient)) for row, coefficient in enumerate(coefficients) if coefficient != 0.0]

    def combine(updates: Sequence[Float32], out: Float64) -> None:
        wide = np.empty_like(out)
        out[:] = 0.0
        for row, coefficient in chosen:
            np.copyto(wide, updates[row])
            if coefficient != 1.0:
                np.multiply(wide, coefficient, out=wide)
            np.add(out, wide, out=out)
        if divisor != 1.0:
            np.divide(out, divisor, out=out)

    return combine


def by_coordinate(function: Callable[[Float64], Float64], rows: Sequence[int] | None = None) -> Combine:
    """Return ``function`` of the stacked blocks, sites along the first axis; of ``rows`` only, where given."""

    def combine(updates: Sequence[Float32], out: Float64) -> None:
        kept = [values for row, values in enumerate(updates) if rows is None or row in rows]
        out[:] = function(np.stack(kept, dtype=np.float64))

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
