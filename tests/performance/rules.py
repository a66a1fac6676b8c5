"""How fast the robust rules combine updates, beside how fast this machine reads the same updates, in the same run.

::

    python -m tests.performance.rules

Updates lie in memory, 32 MB each, and are handed over block by block as the fold does. A rule of one pass must read
every update once; one that needs norms or inner products reads them once more for those, and that pass is timed with
it. ``share`` is the rate at which a rule reads what it must, each pass counted, over the rate at which numpy reads the
same arrays and does next to nothing with them: the faster of their greatest value and their inner product with
themselves. Reading and combining alternate, each the best of so many, in CPU seconds on one core: other work on the
machine counts little, though it takes from both.
"""

import argparse
import os
import time
from collections.abc import Callable

import numpy as np

from federation_hub.aggregation.geometry import InnerProducts, stacked_block
from federation_hub.aggregation.layout import BLOCK_VALUES
from federation_hub.aggregation.rules import Sites, rule_for
from silo_node.wire.strategies import (
    Bulyan,
    CentredClipping,
    Combination,
    CoordinateMedian,
    FLTrust,
    GeometricMedian,
    Krum,
    Mean,
    MultiKrum,
    NormClipping,
    TrimmedMean,
    sites_needed,
)

VALUES = 8_000_000
IDS = tuple(f"silo-{number:06}" for number in range(15))
RULES: tuple[Combination, ...] = (
    Mean(),
    CoordinateMedian(),
    TrimmedMean(),
    NormClipping(radius=1.0),
    GeometricMedian(),
    CentredClipping(radius=1.0),
    Krum(),
    MultiKrum(),
    FLTrust(root=IDS[0]),
    Bulyan(),
)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[5, 9, 15])
    parser.add_argument("--times", type=int, default=7)
    asked = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print("| rule | sites | passes | GB/s | reading, GB/s | share |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for count in asked.sites:
        rng = np.random.default_rng(count)
        updates = [rng.standard_normal(VALUES, np.float32) for _ in range(count)]
        for rule in (rule for rule in RULES if sites_needed(rule) <= count):
            passes = 1 if rule_for(rule).needs == "nothing" else 2
            greatest, product, combining = best_of(asked.times, *readings(updates), combination(rule, updates))
            read, rate = (4e-9 * VALUES * count / seconds for seconds in (min(greatest, product), combining / passes))
            print(f"| {rule.name} | {count} | {passes} | {rate:.1f} | {read:.1f} | {rate / read:.0%} |", flush=True)


def readings(updates: list[np.ndarray]) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the two ways to read every update that cost the least."""
    return lambda: [update.max() for update in updates], lambda: [update @ update for update in updates]


def combination(rule: Combination, updates: list[np.ndarray]) -> Callable[[], None]:
    """Return a whole combination of the updates, norms or inner products included where the rule needs them."""
    count, prepared = len(updates), rule_for(rule)
    size = min(BLOCK_VALUES, stacked_block(count))
    out = np.empty(size)

    def measured(size: int) -> np.ndarray:
        products = InnerProducts(count, norms_only=prepared.needs == "norms")
        for start in range(0, VALUES, size):
            products.add([update[start : start + size] for update in updates])
        return products.matrix

    def combine() -> None:
        products = np.empty((0, 0)) if prepared.needs == "nothing" else measured(stacked_block(count))
        work = prepared.prepare(Sites(IDS[:count], tuple(range(1, count + 1)), products))
        for start in range(0, VALUES, size):
            work([update[start : start + size] for update in updates], out[: min(size, VALUES - start)])

    return combine


def best_of(times: int, *works: Callable[[], object]) -> list[float]:
    """Return the least CPU seconds of each, taken in turns."""
    seconds = [float("inf")] * len(works)
    for _ in range(times):
        for place, work in enumerate(works):
            began = time.process_time()
            work()
            seconds[place] = min(seconds[place], time.process_time() - began)
    return seconds


if __name__ == "__main__":
    main()
