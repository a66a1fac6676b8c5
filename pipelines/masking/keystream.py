"""Masks: the keystream of AES-256 in counter mode under a key that is used for this one mask and nothing else."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pipelines.masking.fixed_point import Words

BLOCK_WORDS = 1 << 14
"""Words made at a time: a block of each array in use fits the second-level cache."""

_CIPHER_BLOCK = 16
_ZEROS = bytes(BLOCK_WORDS * 4)


class Keystream:
    """One mask, word after word. Little-endian, so that both sides read the same numbers."""

    def __init__(self, seed: bytes) -> None:
        self._cipher = Cipher(algorithms.AES256(seed), modes.CTR(bytes(_CIPHER_BLOCK))).encryptor()
        self._buffer = bytearray(len(_ZEROS) + _CIPHER_BLOCK)

    def add_to(self, words: Words) -> None:
        """Add the mask's next words, at most a block of them, modulo what a word holds."""
        np.add(words, self._next(words), out=words)

    def take_from(self, words: Words) -> None:
        """Subtract the mask's next words, at most a block of them, modulo what a word holds."""
        np.subtract(words, self._next(words), out=words)

    def _next(self, like: Words) -> Words:
        self._cipher.update_into(memoryview(_ZEROS)[: like.nbytes], self._buffer)
        return np.frombuffer(self._buffer, like.dtype, count=len(like))
