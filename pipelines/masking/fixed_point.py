"""Weighted values as words of 32 or 16 bits whose sums cannot overflow: the ring of secure aggregation.

A site's value ``u`` with weight ``w`` becomes ``rint(u * w * 2**exponent)`` modulo ``2**bits``. The exponent is the
largest with which the sum over all sites fits a signed word, so the mean is off by at most ``sites / 2`` steps of
``largest / 2**(bits - 2)``, whatever the weights.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import PipelineError

Words = NDArray[np.unsignedinteger[Any]]
Bits = Literal[16, 32]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

CHECK_WORDS = 4
"""Words after the values, ``[weight, 1, 0, 0]``: a sum from which not every mask was taken shows in them."""

_LEAST_STEPS: dict[int, int] = {32: 2**7, 16: 2**2}
"""Steps between nought and ``largest`` for a single case: fewer would say nothing of a small site."""


@dataclass(frozen=True)
class FixedPoint:
    """How the values of one sum are encoded. Everybody derives it from the same roster."""

    largest: float
    """The largest absolute value that can be encoded."""

    exponent: int
    bits: Bits = 32

    @property
    def word(self) -> np.dtype[Any]:
        """The type of a word, little-endian."""
        return np.dtype(f"<u{self.bits // 8}")

    @property
    def _signed(self) -> np.dtype[Any]:
        return np.dtype(f"<i{self.bits // 8}")

    @classmethod
    def for_sum(cls, largest: float, total_weight: int, sites: int, bits: Bits = 32) -> "FixedPoint":
        """Return the finest encoding in which so much weight fits.

        Raises ``masking-overflow`` where that leaves too few steps between nought and ``largest``.
        """
        room = (2 ** (bits - 1) - 1 - sites) / (largest * total_weight)
        exponent = math.frexp(room)[1] - 1
        if room <= 0 or largest * 2.0**exponent < _LEAST_STEPS[bits]:
            raise PipelineError("masking-overflow", f"{total_weight} cases do not fit words of {bits} bits")
        return cls(largest, exponent, bits)

    def encode(self, values: Float32, weight: int, wide: Float64, out: Words) -> None:
        """Fill ``out`` with the words of weighted values; ``wide`` is scratch of the same length.

        Raises ``masking-overflow`` for a value beyond ``largest``, ``update-not-finite`` for a NaN.
        """
        if len(values) and not (values.max() <= self.largest and values.min() >= -self.largest):
            finite = bool(np.isfinite(values).all())
            raise PipelineError("masking-overflow" if finite else "update-not-finite", f"beyond {self.largest:g}")
        np.multiply(values, np.float64(weight) * 2.0**self.exponent, out=wide, dtype=np.float64)
        np.rint(wide, out=wide)
        out.view(self._signed)[:] = wide

    def decode(self, words: Words, total_weight: int) -> Float32:
        """Return the weighted mean of which ``words`` are the sum, as float32, rounded once from float64."""
        signed = words.view(self._signed).astype(np.float64)
        np.divide(signed, np.float64(total_weight) * 2.0**self.exponent, out=signed)
        return signed.astype(np.float32)


def check_words(weight: int, bits: Bits = 32) -> Words:
    """Return what a site appends to its values."""
    return np.array([weight % 2**bits, 1, 0, 0], f"<u{bits // 8}")


def sum_is_whole(words: Words, total_weight: int, sites: int) -> bool:
    """Return whether the sums of the check words are those of so many sites without any mask left."""
    return bool(words.tolist() == [total_weight % 2 ** (8 * words.itemsize), sites, 0, 0])
