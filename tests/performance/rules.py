"""How fast the robust rules combine updates, beside a plain copy of as many bytes in the same run.

::

    python -m tests.performance.rules

Updates lie in memory, 32 MB each, and are handed over block by block as the fold does. A rule of one pass reads every
update once; those that need inner products read them once more for those, and that pass is timed with them. ``share``
is the rate at which updates are read, each pass counted, over the rate at which ``numpy.copyto`` moves bytes (read and
written together, as STREAM counts). Copies and rules alternate, each the best of five.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np

from federation_hub.aggregation.geometry import stacked_block
from federation_hub.aggregation.layout import BLOCK_VALUES
from federation_hub.aggregation.rules import Sites, rule_for
from silo_node.wire.strategies import (
    CentredClipping,
    Combination,
    CoordinateMedian,
    GeometricMedian,
    Krum,
    Mean,
    NormClipping,
    TrimmedMean,
)

VALUES = 8_000_000
RULES: tuple[Combination, ...] = (
    Mean(),
    CoordinateMedian(),
    TrimmedMean(),
    NormClipping(radius=1.0),
    GeometricMedian(),
    CentredClipping(radius=1.0),
    Krum(),
)


def main() -> None:
    """Measure and print a table in Markdown."""
    print("| rule | sites | passes | GB/s | copy GB/s | share |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for count in (5, 9, 15):
        rng = np.random.default_rng(count)
        updates = [rng.standard_normal(VALUES, np.float32) for _ in range(count)]
        for rule in RULES:
            prepared = rule_for(rule)
            passes = 2 if prepared.needs_products else 1
            copying, combining = alternating(copy_of(updates[0]), combination(rule, updates))
            rate, copied = passes * count * 4 * VALUES / combining, 2 * 4 * VALUES / copying
            cells = f"{rate / 1e9:.1f} | {copied / 1e9:.1f} | {rate / copied:.0%}"
            print(f"| {rule.name} | {count} | {passes} | {cells} |", flush=True)


def copy_of(source: np.ndarray) -> Callable[[], None]:
    """Return a copy to measure by."""
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)


def combination(rule: Combination, updates: list[np.ndarray]) -> Callable[[], None]:
    """Return a whole combination of the updates, inner products included where the rule needs them."""
    size = min(BLOCK_VALUES, stacked_block(len(updates)))
    prepared, out = rule_for(rule), np.empty(size)
    ids = tuple(f"silo-{number:06}" for number in range(len(updates)))

    def blocks(start: int) -> Iterator[np.ndarray]:
        return (update[start : start + size] for update in updates)

    def combine() -> None:
        products = np.zeros((len(updates), len(updates)))
        if prepared.needs_products:
            for start in range(0, VALUES, size):
                stack = np.stack(list(blocks(start))).astype(np.float64)
                products += stack @ stack.T
        work = prepared.prepare(Sites(ids, tuple(range(1, len(updates) + 1)), products))
        for start in range(0, VALUES, size):
            work(blocks(start), out[: min(size, VALUES - start)])

    return combine


def alternating(one: Callable[[], None], other: Callable[[], None]) -> tuple[float, float]:
    """Return the least seconds of each, taken in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(5):
        for place, work in enumerate((one, other)):
            began = time.perf_counter()
            work()
            times[place].append(time.perf_counter() - began)
    return min(times[0]), min(times[1])


if __name__ == "__main__":
    main()
