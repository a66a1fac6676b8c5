"""What a decoded image or label map must be before it is stored."""

from typing import TYPE_CHECKING

import numpy as np

from silo_node.wire.errors import BadInput

if TYPE_CHECKING:
    from silo_node.intake.source import Array

LARGEST_IMAGE = 2**30
"""Bytes a decoded image, an inflated data set or an archive's array may have."""


def storable(values: "Array") -> "Array":
    """Return an array as uint8, int16 or float32, the smallest that holds the values; refuse what is not finite."""
    if values.size == 0 or not np.isfinite(values).all():
        raise BadInput("image-invalid", "it is empty, or a value is not a finite number")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if np.issubdtype(values.dtype, np.integer) or np.array_equal(values, np.rint(values)):
        low, high = values.min(), values.max()
        for kind in (np.uint8, np.int16):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return np.ascontiguousarray(values, dtype=kind)
    result = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(result).all():
        raise BadInput("image-invalid", "a value does not fit 32 bits")
    return result


def label_values(values: "Array", shape: tuple[int, ...]) -> "Array":
    """Return a label map as uint8; raises ``image-invalid`` unless it has the image's shape and small whole numbers.

    Published data sets hold label maps stored as float32, so the dtype is not what is checked.
    """
    if values.shape != shape:
        raise BadInput("image-invalid", "image and label map differ in shape")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255 or np.any(values != np.rint(values)):
        raise BadInput("image-invalid", "the label map holds something else than labels from 0 to 255")
    return np.ascontiguousarray(values, dtype=np.uint8)
