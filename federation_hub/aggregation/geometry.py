"""The inner products of a round's updates, in one pass over their files and memory that depends on neither's size."""

from collections.abc import Sequence

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64, Layout, read_block

STACKED_VALUES = 1 << 18
"""Values of all updates together that are in memory at once where a rule needs them side by side."""

Source = tuple[int, Layout]
"""The descriptor of an open update and its layout."""


def stacked_block(silos: int) -> int:
    """Return how many values of each of so many updates are taken at once."""
    return max(1, STACKED_VALUES // silos)


def inner_products(sources: Sequence[Source], base: Layout) -> Float64:
    """Return the matrix of inner products over all values, in float64 and in the order of ``sources``."""
    size = stacked_block(len(sources))
    stack: Float64 = np.empty((len(sources), size), np.float64)
    buffer: Float32 = np.empty(size, np.float32)
    products: Float64 = np.zeros((len(sources), len(sources)))
    for tensor in base.tensors:
        for start in range(0, tensor.values, size):
            count = min(size, tensor.values - start)
            for row, (descriptor, layout) in enumerate(sources):
                stack[row, :count] = read_block(descriptor, layout.by_name[tensor.name], start, buffer[:count])
            products += stack[:, :count] @ stack[:, :count].T
    return products
