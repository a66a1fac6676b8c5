"""The rules that make the next global model, one small pure function each behind one interface.

A strategy sees one block of values at a time: the global model's, and the same block of each update in the order of
silo ids. It must treat each value by itself, so that the result does not depend on where blocks begin.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64


class Strategy(Protocol):
    """Turn a block of the global model and of every weighted update into a block of the next global model.

    ``updates`` yields ``(weight, values)``; the values are a view that the next one may overwrite, so memory does
    not grow with the number of silos. ``out`` receives the result in float64.
    """

    def __call__(self, base: Float32, updates: Iterable[tuple[float, Float32]], out: Float64) -> None: ...


def fedavg(base: Float32, updates: Iterable[tuple[float, Float32]], out: Float64) -> None:
    """Federated averaging (McMahan et al. 2017): ``base + sum(w_i * delta_i) / sum(w_i)``.

    A weight below 2**29 times a float32 value is exact in float64, so only the sums and the one division round.
    """
    product = np.empty_like(out)
    total = 0.0
    out[:] = 0.0
    for weight, values in updates:
        np.multiply(values, np.float64(weight), out=product, dtype=np.float64)
        np.add(out, product, out=out)
        total += weight
    np.divide(out, total, out=out)
    np.add(out, base, out=out)


STRATEGIES: Mapping[str, Strategy] = MappingProxyType({"fedavg": fedavg})
"""Every strategy a study plan can name."""
