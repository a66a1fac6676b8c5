"""What an update must pass before it counts: exactly the global model's tensors, all finite, norm under the bound.

Both large frameworks average a NaN in silently; here it is refused with a code, and the round goes on without it.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from federation_hub.aggregation.layout import BLOCK_VALUES, Float32, Layout, Tensor, float_blocks, read_layout
from silo_node.wire.errors import IntegrityError

LARGEST_NORM = 1e12
"""The bound where a plan sets none, and the largest a plan may set: no sum of such updates overflows float32."""


@dataclass(frozen=True)
class UpdateFacts:
    """What was measured on a verified update: the L2 norm over all its values, in float64."""

    norm: float


def verify_update(path: Path, base: Layout, *, norm_bound: float | None = None) -> UpdateFacts:
    """Read an update once and return what was measured.

    ``base`` is the layout of the global model the update was trained from. Raises :class:`IntegrityError` with
    ``update-unsound``, ``update-name-missing``, ``update-name-extra``, ``update-shape``, ``update-dtype``,
    ``update-not-finite`` or ``update-norm``.
    """
    try:
        layout = read_layout(path)
    except IntegrityError as error:
        raise IntegrityError("update-unsound", error.detail) from error
    check_schema(layout, base)
    norm = _finite_norm(path, layout)
    if norm > min(LARGEST_NORM, norm_bound or LARGEST_NORM):
        raise IntegrityError("update-norm")
    return UpdateFacts(norm)


def check_schema(update: Layout, base: Layout) -> None:
    """Compare names, shapes and dtypes; the order of the tensors in the file is free."""
    if base.by_name.keys() - update.by_name.keys():
        raise IntegrityError("update-name-missing")
    if update.by_name.keys() - base.by_name.keys():
        raise IntegrityError("update-name-extra")
    for name, wanted in base.by_name.items():
        found = update.by_name[name]
        if found.shape != wanted.shape:
            raise IntegrityError("update-shape")
        if found.dtype != wanted.dtype or found.dtype != "F32":
            raise IntegrityError("update-dtype")


def _finite_norm(path: Path, layout: Layout) -> float:
    """Return the L2 norm. A NaN or an infinity shows up in the sum of squares, which float32 values cannot overflow."""
    buffer = np.empty(BLOCK_VALUES, np.float32)
    wide = np.empty(BLOCK_VALUES, np.float64)
    total = 0.0
    with path.open("rb", buffering=0) as file:
        for tensor in layout.tensors:
            total += _sum_of_squares(file.fileno(), tensor, buffer, wide)
            if not math.isfinite(total):
                raise IntegrityError("update-not-finite")
    return math.sqrt(total)


def _sum_of_squares(descriptor: int, tensor: Tensor, buffer: Float32, wide: np.ndarray) -> float:
    total = 0.0
    for block in float_blocks(descriptor, tensor, buffer):
        values = wide[: len(block)]
        values[:] = block
        total += float(values @ values)
    return total
