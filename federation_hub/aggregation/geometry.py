"""The inner products of a round's updates, in one pass over their files and memory that depends on neither's size."""

from collections.abc import Sequence

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64, Layout, read_block

STACKED_VALUES = 1 << 18
"""Values of all updates together that are in memory at once: a megabyte, which fits the second-level cache."""

FEW = 12
"""Up to so many updates, BLAS is faster with one row after the other than with the whole matrix."""

Source = tuple[int, Layout]
"""The descriptor of an open update and its layout."""


def stacked_block(silos: int) -> int:
    """Return how many values of each of so many updates are taken at once."""
    return max(1, STACKED_VALUES // silos)


class InnerProducts:
    """The matrix of inner products of so many updates, added up block after block in float64."""

    def __init__(self, count: int, *, norms_only: bool = False) -> None:
        self._sums: Float64 = np.zeros((count, count))
        self._wide: Float64 = np.empty((count, stacked_block(count)), np.float64)
        self._norms_only = norms_only

    def add(self, blocks: Sequence[Float32]) -> None:
        """Take in the same block of each update, of at most :func:`stacked_block` values."""
        wide = self._wide[:, : len(blocks[0])]
        few = len(blocks) <= FEW
        for row, values in enumerate(blocks):
            own = wide[0 if self._norms_only else row]
            np.copyto(own, values)
            if self._norms_only:
                self._sums[row, row] += own @ own
            elif few:
                self._sums[row, : row + 1] += wide[: row + 1] @ own
        if not (self._norms_only or few):
            self._sums += wide @ wide.T

    @property
    def matrix(self) -> Float64:
        """The matrix so far; with ``norms_only`` its diagonal, and noughts beside it."""
        lower = np.tril(self._sums)
        whole: Float64 = lower + np.tril(lower, -1).T
        return whole


def inner_products(sources: Sequence[Source], base: Layout, *, norms_only: bool = False) -> Float64:
    """Return the matrix of inner products over all values, in float64 and in the order of ``sources``.

    With ``norms_only`` the squared norms on its diagonal, and noughts beside it.
    """
    size = stacked_block(len(sources))
    buffers: Float32 = np.empty((len(sources), size), np.float32)
    products = InnerProducts(len(sources), norms_only=norms_only)
    for tensor in base.tensors:
        for start in range(0, tensor.values, size):
            count = min(size, tensor.values - start)
            products.add(
                [
                    read_block(descriptor, layout.by_name[tensor.name], start, buffer[:count])
                    for buffer, (descriptor, layout) in zip(buffers, sources, strict=True)
                ]
            )
    return products.matrix
