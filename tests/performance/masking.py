"""What masking an update costs a site, on one core: ``python -m tests.performance.masking --megabytes 10 100 400``.

Prints, for each size, seconds on the clock and of the processor beside the limits, and the peak of resident memory,
which must not grow with the model. Each size is measured in a process of its own, and the update made in another.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from pipelines.masking.fixed_point import FixedPoint
from pipelines.masking.sums import Masks, WeightedSum, encoded, stored, write_masked, write_mean
from tests.performance.process import peak_memory

LIMITS = {4: 1.5, 16: 6.0}
"""Seconds for 100 MB, by sites."""

MEGABYTE = 1_000_000
TENSORS = 50


def make_update(path: Path, count: int) -> None:
    """Write an update of :data:`TENSORS` tensors with so many values each."""
    rng = np.random.default_rng(0)
    scale = np.float32(1e-3)
    save_file({f"t{number:02}": rng.standard_normal(count, np.float32) * scale for number in range(TENSORS)}, path)


def masking(update: Path, sites: int, out: Path) -> Callable[[], None]:
    """Return what one of so many sites does: a mask with each other and one of its own."""
    encoding = FixedPoint.for_sum(16.0, 1000 * sites, sites)
    seeds = [bytes([number]) * 32 for number in range(sites)]
    masks = Masks(added=tuple(seeds[::2]), taken=tuple(seeds[1::2]))
    return lambda: write_masked(encoded(update, encoding, 1000), masks, out)


def opening(masked: Path, values: int, sites: int, like: Path, out: Path) -> Callable[[], None]:
    """Return what the hub does for a sum over so many sites, each with a mask of its own.

    The same file for all: it is masked with one seed only, and the check words are those of one site.
    """
    encoding = FixedPoint.for_sum(16.0, 1000 * sites, sites)
    updates, masks = [stored(masked, values) for _ in range(sites)], Masks(taken=(bytes(32),) * sites, added=())
    return lambda: write_mean(updates, masks, WeightedSum(encoding, 1000 * sites, sites), like, out)


def seconds(work: Callable[[], None], times: int) -> tuple[float, float]:
    """Return the least seconds on the clock, and of the processor."""
    clock, processor = [], []
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return min(clock), min(processor)


def measure(megabytes: int, times: int) -> None:
    """Print the rows of one size."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), megabytes * MEGABYTE // 4 // TENSORS
        update, values = folder / "update.safetensors", count * TENSORS
        apart(make_update, update, count)
        before = peak_memory(os.getpid())
        works = {f"a site masks, of {sites}": masking(update, sites, folder / "masked") for sites in LIMITS}
        write_masked(encoded(update, FixedPoint.for_sum(16.0, 4000, 4), 1000), Masks(added=(bytes(32),)), folder / "1")
        works["the hub opens a sum of 4"] = opening(folder / "1", values, 4, update, folder / "mean")
        limits = [f"{limit * megabytes / 100:.1f}" for limit in LIMITS.values()]
        for (words, work), limit in zip(works.items(), [*limits, ""], strict=True):
            clock, processor = seconds(work, times)
            print(f"| {megabytes} MB | {words} | {clock:.2f} | {processor:.2f} | {limit} |", flush=True)
        peak = peak_memory(os.getpid())
        print(f"| {megabytes} MB | peak of resident memory: {peak:.0f} MB, {peak - before:.0f} of it for this | | | |")


def apart(work: Callable[..., None], *arguments: object) -> None:
    """Do something in a process of its own, whose memory is its own."""
    process = get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100])
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    print("| update | what | seconds | of the processor | limit |")
    print("| --- | --- | ---: | ---: | ---: |", flush=True)
    for megabytes in asked.megabytes:
        apart(measure, megabytes, asked.times)


if __name__ == "__main__":
    main()
