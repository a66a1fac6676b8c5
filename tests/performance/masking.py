"""What masking a 100 MB update costs a site, on one core: ``python -m tests.performance.masking``.

Prints seconds beside the limits, and the peak of resident memory, which must not grow with the model.
"""

import argparse
import resource
import tempfile
import time
from multiprocessing import Process
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from pipelines.masking.fixed_point import FixedPoint
from pipelines.masking.sums import Masks, WeightedSum, encoded, stored, write_masked, write_mean

LIMITS = {4: 1.5, 16: 6.0}
"""Seconds for 100 MB, by sites."""

MEGABYTE = 1_000_000
TENSORS = 50


def make_update(path: Path, count: int) -> None:
    """Write an update of :data:`TENSORS` tensors with so many values each."""
    rng = np.random.default_rng(0)
    scale = np.float32(1e-3)
    save_file({f"t{number:02}": rng.standard_normal(count, np.float32) * scale for number in range(TENSORS)}, path)


def masked_in(update: Path, sites: int, out: Path) -> float:
    """Return the seconds one of so many sites takes: a mask with each other and one of its own."""
    encoding = FixedPoint.for_sum(16.0, 1000 * sites, sites)
    seeds = [bytes([number]) * 32 for number in range(sites)]
    start = time.perf_counter()
    write_masked(encoded(update, encoding, 1000), Masks(added=tuple(seeds[::2]), taken=tuple(seeds[1::2])), out)
    return time.perf_counter() - start


def opened_in(masked: Path, values: int, sites: int, like: Path, out: Path) -> float:
    """Return the seconds the hub takes for a sum over so many sites, each with a mask of its own."""
    encoding = FixedPoint.for_sum(16.0, 1000 * sites, sites)
    seeds = [bytes([number]) * 32 for number in range(sites)]
    update = [stored(masked, values) for _ in range(sites)]
    # The same file for all: it is masked with seed 0 only, and the check words are those of one site.
    start = time.perf_counter()
    masks = Masks(taken=(seeds[0],) * sites, added=())
    write_mean(update, masks, WeightedSum(encoding, 1000 * sites, sites), like, out)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), asked.megabytes * MEGABYTE // 4 // TENSORS
        update = folder / "update.safetensors"
        # In a process of its own, whose memory is not counted.
        maker = Process(target=make_update, args=(update, count))
        maker.start()
        maker.join()
        values, before = count * TENSORS, _peak()
        print(f"{asked.megabytes} MB, best of {asked.times}, one core")
        print(f"{'':>28} {'seconds':>8} {'limit':>6}")
        for sites, limit in LIMITS.items():
            best = min(masked_in(update, sites, folder / "masked") for _ in range(asked.times))
            print(f"{f'a site masks, of {sites}':>28} {best:8.2f} {limit * asked.megabytes / 100:6.1f}")
        write_masked(
            encoded(update, FixedPoint.for_sum(16.0, 4000, 4), 1000), Masks(added=(bytes([0]) * 32,)), folder / "one"
        )
        best = min(opened_in(folder / "one", values, 4, update, folder / "mean") for _ in range(asked.times))
        print(f"{'the hub opens a sum of 4':>28} {best:8.2f}")
        print(f"peak of resident memory: {_peak():.0f} MB, {_peak() - before:.0f} MB of it for masking and opening")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


if __name__ == "__main__":
    main()
