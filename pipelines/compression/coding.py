"""One block of one tensor's values as bytes, and back. Every length follows from the number of values.

``exact``: float32, byte-shuffled. ``half``: float16 after a power of two, so nothing overflows and small values keep
their digits. ``int8``: a scale for each 1024 values. ``topk``: the largest of the block with their places. All rounding
is to nearest, so the same update always gives the same bytes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import PipelineError

Level = Literal["lossless", "half", "int8", "topk"]
Float32 = NDArray[np.float32]
_SCALED = 1024
"""Values that share a scale in ``int8``."""

_LARGEST_HALF = 2.0**15


@dataclass(frozen=True)
class Coding:
    """How a block is coded: its mark in the file, its exact length, and both directions."""

    mark: int
    size: Callable[[int], int]
    encode: Callable[[Float32], bytes]
    decode: Callable[[bytes, int], Float32]


def coding_for(level: Level, fraction: float) -> Coding:
    """Return a level's coding of weights; ``fraction`` is that of ``topk``."""
    if level == "lossless":
        return EXACT
    if level == "half":
        return HALF
    return INT8 if level == "int8" else _topk(fraction)


def _exact_encode(values: Float32) -> bytes:
    return _shuffled(np.ascontiguousarray(values, "<f4").view(np.uint8), 4)


def _exact_decode(data: bytes, count: int) -> Float32:
    return _unshuffled(data, 4).view("<f4").astype(np.float32)


def _half_encode(values: Float32) -> bytes:
    exponent = _exponent(values)
    halves = np.ldexp(values.astype(np.float64), -exponent).astype("<f2")
    return exponent.to_bytes(2, "little", signed=True) + _shuffled(halves.view(np.uint8), 2)


def _half_decode(data: bytes, count: int) -> Float32:
    exponent = _checked_exponent(data[:2])
    halves = _unshuffled(data[2:], 2).view("<f2").astype(np.float64)
    return np.ldexp(halves, exponent).astype(np.float32)


def _int8_encode(values: Float32) -> bytes:
    padded = np.zeros(-(-len(values) // _SCALED) * _SCALED, np.float32)
    padded[: len(values)] = values
    rows = padded.reshape(-1, _SCALED)
    scales = (np.abs(rows).max(axis=1) / np.float32(127)).astype("<f4")
    safe = np.where(scales > 0, scales, np.float32(1))
    steps = np.clip(np.rint(rows / safe[:, None]), -127, 127).astype(np.int8)
    return bytes(scales.tobytes()) + steps.reshape(-1)[: len(values)].tobytes()


def _int8_decode(data: bytes, count: int) -> Float32:
    rows = -(-count // _SCALED)
    scales = np.frombuffer(data, "<f4", count=rows)
    steps = np.zeros(rows * _SCALED, np.float32)
    steps[:count] = np.frombuffer(data, np.int8, offset=4 * rows)
    scaled: Float32 = steps.reshape(-1, _SCALED) * scales[:, None]
    return scaled.reshape(-1)[:count].astype(np.float32)


def _topk(fraction: float) -> Coding:
    def kept(count: int) -> int:
        return max(1, math.ceil(fraction * count))

    def encode(values: Float32) -> bytes:
        places = _largest(np.abs(values), kept(len(values)))
        gaps = np.diff(places, prepend=0).astype("<u4")
        return _shuffled(gaps.view(np.uint8), 4) + _half_encode(values[places])

    def decode(data: bytes, count: int) -> Float32:
        cut = 4 * kept(count)
        gaps = _unshuffled(data[:cut], 4).view("<u4").astype(np.int64)
        places = np.cumsum(gaps)
        if (gaps[1:] == 0).any() or places[-1] >= count:
            raise PipelineError("update-unsound", "places that are not there, or twice")
        values = np.zeros(count, np.float32)
        values[places] = _half_decode(data[cut:], len(places))
        return values

    return Coding(3, lambda count: 6 * kept(count) + 2, encode, decode)


def _largest(magnitudes: Float32, count: int) -> NDArray[np.intp]:
    """Return the places of the largest, in order; of equal ones the first, so that it is the same everywhere."""
    least = np.partition(magnitudes, len(magnitudes) - count)[len(magnitudes) - count]
    above = np.flatnonzero(magnitudes > least)
    equal = np.flatnonzero(magnitudes == least)[: count - len(above)]
    return np.sort(np.concatenate([above, equal]))


def _exponent(values: Float32) -> int:
    """Return the power of two after which the largest value just fits a half."""
    largest = float(np.abs(values).max())
    return math.frexp(largest / _LARGEST_HALF)[1] if largest > 0 else 0


def _checked_exponent(data: bytes) -> int:
    exponent = int.from_bytes(data, "little", signed=True)
    if not -200 <= exponent <= 200:
        raise PipelineError("update-unsound", "a scale that no float32 needs")
    return exponent


def _shuffled(data: NDArray[np.uint8], width: int) -> bytes:
    """Put the first bytes of all values first, then the second ones: like things together."""
    return np.ascontiguousarray(data.reshape(-1, width).T).tobytes()


def _unshuffled(data: bytes, width: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(width, -1).T).reshape(-1)


EXACT = Coding(0, lambda count: 4 * count, _exact_encode, _exact_decode)
HALF = Coding(1, lambda count: 2 * count + 2, _half_encode, _half_decode)
INT8 = Coding(2, lambda count: count + 4 * -(-count // _SCALED), _int8_encode, _int8_decode)
