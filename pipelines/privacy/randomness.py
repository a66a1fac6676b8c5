"""Randomness nobody outside can repeat: AES-256 in counter mode, keyed by the operating system.

Neither torch's nor numpy's generators are made for secrets, and a plan's seed is known to everybody: who knew the
noise could subtract it.
"""

import os
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Floats = np.ndarray[Any, np.dtype[np.float64]]
KEY_BYTES = 32
_WORD = 8
_AT_A_TIME = 1 << 18


class SecretRandomness:
    """A stream of random numbers. A ``key`` is given only where nothing is promised: in simulations and tests."""

    def __init__(self, key: bytes | None = None) -> None:
        keyed = Cipher(algorithms.AES(key or os.urandom(KEY_BYTES)), modes.CTR(bytes(16)))
        self._stream = keyed.encryptor()

    def uniform(self, count: int) -> Floats:
        """Return numbers strictly between 0 and 1, of 53 random bits."""
        words = np.frombuffer(self._stream.update(bytes(count * _WORD)), dtype="<u8")
        return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, count: int) -> Floats:
        """Return standard normal numbers, each a sum of four: the digits of one alone would tell of what it hides.

        A noisy value whose noise is one floating-point sample can be told apart by which values are possible at all
        (Mironov 2012); with a sum of four that takes about the power of four of the work (Holohan and Braghin 2021).
        """
        out = np.empty(count)
        for start in range(0, count, _AT_A_TIME):
            part = out[start : start + _AT_A_TIME]
            part[:] = self._plain_normal(4 * len(part)).reshape(4, len(part)).sum(axis=0) / 2
        return out

    def chosen(self, count: int, rate: float) -> list[int]:
        """Return which of ``count`` are drawn, each by itself with probability ``rate`` (Poisson sampling)."""
        return [int(index) for index in np.flatnonzero(self.uniform(count) < rate)]

    def some_of(self, indices: list[int], most: int) -> list[int]:
        """Return at most so many of the indices, drawn without order."""
        if len(indices) <= most:
            return indices
        order = np.argsort(self.uniform(len(indices)))
        return [indices[place] for place in order[:most]]

    def _plain_normal(self, count: int) -> Floats:
        """Box and Muller's transform; ``count`` is even."""
        half = count // 2
        radius = np.sqrt(-2 * np.log(self.uniform(half)))
        angle = 2 * np.pi * self.uniform(half)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
