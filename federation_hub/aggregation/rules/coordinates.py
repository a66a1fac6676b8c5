"""The median and the trimmed mean of each value by itself (Yin et al. 2018).

Values are put in order by a network of comparisons over whole blocks: a few passes of minima and maxima over what is
in the cache anyway, instead of a sort for every value. Only what the rule asks for is put in order.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64
from federation_hub.aggregation.rules.interface import Combine, Rule
from silo_node.wire.strategies import TrimmedMean


def coordinate_median() -> Rule:
    """Return the median; of an even number of sites, the mean of the middle two."""
    return Rule(lambda sites: _middle(len(sites.silo_ids), (len(sites.silo_ids) - 1) // 2), needs_products=False)


def trimmed_mean(chosen: TrimmedMean) -> Rule:
    """Return the mean without the ``liars`` largest and smallest values."""
    return Rule(lambda sites: _middle(len(sites.silo_ids), chosen.liars), needs_products=False)


def _middle(count: int, cut: int) -> Combine:
    """Return the mean of each value without so many of the largest and smallest, added up in their order."""
    kept = range(cut, count - cut)
    steps = comparisons(count, frozenset(kept))
    room: list[Float32] = []

    def combine(updates: Iterable[Float32], out: Float64) -> None:
        if not room or len(room[0]) < len(out):
            room[:] = [np.empty(len(out), np.float32) for _ in range(count + 1)]
        *rows, spare = [buffer[: len(out)] for buffer in room]
        for row, values in zip(rows, updates, strict=True):
            row[:] = values
        for low, high, wants_low, wants_high in steps:
            if wants_low and wants_high:
                np.minimum(rows[low], rows[high], out=spare)
                np.maximum(rows[low], rows[high], out=rows[high])
                rows[low], spare = spare, rows[low]
            elif wants_low:
                np.minimum(rows[low], rows[high], out=rows[low])
            else:
                np.maximum(rows[low], rows[high], out=rows[high])
        out[:] = 0.0  # which also makes every nought a positive one, whatever a minimum took
        for row in kept:
            out += rows[row]
        out /= len(kept)

    return combine


@lru_cache
def comparisons(count: int, wanted: frozenset[int]) -> tuple[tuple[int, int, bool, bool], ...]:
    """Return ``(low, high, wants low, wants high)`` in order, which bring the ``wanted`` places of an order about.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 5.2.2, algorithm M), without what nobody asks for.
    """
    needed, kept = set(wanted), []
    for low, high in reversed(_merge_exchange(count)):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def _merge_exchange(count: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    top = 1 << max(0, (count - 1).bit_length() - 1)
    step = top if count > 1 else 0
    while step > 0:
        reach, rest, distance = top, 0, step
        while True:
            pairs += [(low, low + distance) for low in range(count - distance) if low & step == rest]
            if reach == step:
                break
            distance, reach, rest = reach - step, reach // 2, step
        step //= 2
    return pairs
