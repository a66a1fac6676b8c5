"""Weighted values as 32-bit words whose sums cannot overflow: the field of secure aggregation.

A site's value ``u`` with weight ``w`` becomes ``rint(u * w * 2**exponent)`` modulo ``2**32``. The exponent is the
largest with which the sum over all sites fits a signed word, so the mean is off by at most ``sites / 2`` steps of
``largest / 2**30``, whatever the weights.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import PipelineError

Words = NDArray[np.uint32]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

WORD_BYTES = 4
CHECK_WORDS = 4
"""Words after the values, ``[weight, 1, 0, 0]``: a sum from which not every mask was taken shows in them."""

_LIMIT = 2**31 - 1
_LEAST_STEPS = 2**7
"""Steps between nought and ``largest`` for a single case: fewer would say nothing of a small site."""


@dataclass(frozen=True)
class FixedPoint:
    """How the values of one sum are encoded. Everybody derives it from the same roster."""

    largest: float
    """The largest absolute value that can be encoded."""

    exponent: int

    @classmethod
    def for_sum(cls, largest: float, total_weight: int, sites: int) -> "FixedPoint":
        """Return the finest encoding in which so much weight fits.

        Raises ``masking-overflow`` where that leaves too few steps between nought and ``largest``.
        """
        room = (_LIMIT - sites) / (largest * total_weight)
        exponent = math.frexp(room)[1] - 1
        if largest * 2.0**exponent < _LEAST_STEPS:
            raise PipelineError("masking-overflow", f"{total_weight} cases do not fit words of 32 bits")
        return cls(largest, exponent)

    def encode(self, values: Float32, weight: int, wide: Float64, out: Words) -> None:
        """Fill ``out`` with the words of weighted values; ``wide`` is scratch of the same length.

        Raises ``masking-overflow`` for a value beyond ``largest``, ``update-not-finite`` for a NaN.
        """
        if len(values) and not (values.max() <= self.largest and values.min() >= -self.largest):
            finite = bool(np.isfinite(values).all())
            raise PipelineError("masking-overflow" if finite else "update-not-finite", f"beyond {self.largest:g}")
        np.multiply(values, np.float64(weight) * 2.0**self.exponent, out=wide, dtype=np.float64)
        np.rint(wide, out=wide)
        out.view(np.int32)[:] = wide

    def decode(self, words: Words, total_weight: int) -> Float32:
        """Return the weighted mean of which ``words`` are the sum, as float32, rounded once from float64."""
        signed = words.view(np.int32).astype(np.float64)
        np.divide(signed, np.float64(total_weight) * 2.0**self.exponent, out=signed)
        return signed.astype(np.float32)


def check_words(weight: int) -> Words:
    """Return what a site appends to its values."""
    return np.array([weight, 1, 0, 0], np.uint32)


def sum_is_whole(words: Words, total_weight: int, sites: int) -> bool:
    """Return whether the sums of the check words are those of so many sites without any mask left."""
    return bool(words.tolist() == [total_weight, sites, 0, 0])
