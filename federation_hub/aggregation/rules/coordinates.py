"""The median and the trimmed mean of each value by itself (Yin et al. 2018).

Values are put in order by a network of comparisons over whole blocks: a few passes of minima and maxima over what is
in the cache anyway, instead of a sort for every value. Only what the rule asks for is put in order, all of it in single
precision, which no comparison loses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64
from federation_hub.aggregation.rules.interface import Combine, Rule
from silo_node.wire.strategies import TrimmedMean

Step = tuple[np.ufunc, int, int, int]
"""``(minimum or maximum, one row, another row, the row it is written to)``."""

Pairs = list[tuple[int, int]]
"""Comparisons in order: afterwards the first place of a pair has the lesser value, the second the greater."""


def coordinate_median() -> Rule:
    """Return the median; of an even number of sites, the mean of the middle two."""
    return Rule(lambda sites: _middle(len(sites.silo_ids), (len(sites.silo_ids) - 1) // 2), needs="nothing")


def trimmed_mean(chosen: TrimmedMean) -> Rule:
    """Return the mean without the ``liars`` largest and smallest values."""
    return Rule(lambda sites: _middle(len(sites.silo_ids), chosen.liars), needs="nothing")


def _middle(count: int, cut: int) -> Combine:
    """Return the mean of each value without so many of the largest and smallest."""
    network = middle_of(count, cut)
    room: list[Float32] = []

    def combine(updates: Sequence[Float32], out: Float64) -> None:
        if not room or len(room[0]) < len(out):
            room[:] = [np.empty(len(out), np.float32) for _ in range(network.buffers)]
        rows = [*updates, *(buffer[: len(out)] for buffer in room)]
        for choose, one, other, target in network.steps:
            choose(rows[one], rows[other], out=rows[target])
        first, *others = network.kept
        np.copyto(out, rows[first])
        wide = np.empty_like(out) if others else out
        for place in others:
            np.copyto(wide, rows[place])
            np.add(out, wide, out=out)
        # Nought is added last: it makes every nought a positive one, whatever a minimum took.
        np.add(out, 0.0, out=out)
        if others:
            np.divide(out, len(network.kept), out=out)

    return combine


@dataclass(frozen=True)
class Network:
    """Comparisons over rows: the updates' come first and are only read, buffers follow."""

    steps: tuple[Step, ...]

    buffers: int
    kept: tuple[int, ...]
    """The rows in which what was asked for lies at the end."""


@lru_cache
def middle_of(count: int, cut: int) -> Network:
    """Return the network that leaves the middle of so many rows, without the ``cut`` least and greatest."""
    networks = [(_merge_exchange(count), range(cut, count - cut)), _forgetting(count, cut)]
    return min(
        (_laid_out(_needed(pairs, kept), count, kept) for pairs, kept in networks),
        key=lambda network: len(network.steps),
    )


def _needed(pairs: Pairs, kept: Sequence[int]) -> list[tuple[int, int, bool, bool]]:
    """Return ``(low, high, wants low, wants high)`` of the comparisons that somebody asks for."""
    needed, steps = set(kept), []
    for low, high in reversed(pairs):
        if low in needed or high in needed:
            steps.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return steps[::-1]


def _laid_out(steps: Sequence[tuple[int, int, bool, bool]], count: int, kept: Sequence[int]) -> Network:
    """Give every result a buffer: its last reader's, where that is one, or one that nobody reads any more."""
    at, free, laid, buffers = list(range(count)), list[int](), list[Step](), 0
    for low, high, wants_low, wants_high in steps:
        one, other = at[low], at[high]
        own = [row for row in (one, other) if row >= count]
        wanted = [(np.minimum, low)] * wants_low + [(np.maximum, high)] * wants_high
        for choose, place in wanted:
            if own and place == wanted[-1][1]:
                target = own.pop()
            elif free:
                target = free.pop()
            else:
                target, buffers = count + buffers, buffers + 1
            laid.append((choose, one, other, target))
            at[place] = target
        free += own
    return Network(tuple(laid), buffers, tuple(at[place] for place in kept))


def _forgetting(count: int, cut: int) -> tuple[Pairs, list[int]]:
    """Return comparisons that drop the least and the greatest again and again, and the places that are left.

    The greatest of ``count - cut + 1`` values is one of the ``cut`` greatest of all, so nothing else need be known to
    drop it; then the next value is taken in (Paeth's median, in Graphics Gems, 1990).
    """
    pairs: Pairs = []
    first = min(count, count - cut + 1)
    left, waiting = list(range(first)), list(range(first, count))
    for _ in range(cut):
        halves = [(left[place], left[place + 1]) for place in range(0, len(left) - 1, 2)]
        lows, highs = [low for low, _ in halves], [high for _, high in halves]
        if len(left) % 2:
            # The odd one goes with the greater ones, and what is left of it with the lesser.
            highs.insert(0, left[-1])
            lows.append(left[-1])
        pairs += halves + list(pairwise(highs)) + [(low, high) for high, low in pairwise(lows)]
        left = [place for place in left if place not in (highs[-1], lows[-1])] + waiting[:1]
        del waiting[:1]
    return pairs, left


def _merge_exchange(count: int) -> Pairs:
    """Return Batcher's merge exchange (Knuth, The Art of Computer Programming 5.2.2, algorithm M): a whole order."""
    pairs: Pairs = []
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
