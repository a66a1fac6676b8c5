"""How fast updates are folded, beside what this machine's memory can do, and how much memory that takes.

::

    python -m tests.performance.aggregate

Memory bandwidth is that of copying a large array on one core, read and written bytes together (STREAM's copy). The
fold reads the global model and every update and writes the new model, all through the page cache, and hashes it. Each
line is a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from federation_hub.aggregation.checks import verify_update
from federation_hub.aggregation.fold import Update, fold
from federation_hub.aggregation.layout import read_layout
from tests.performance.process import peak_memory

TENSORS = 40
SIZES = ((10, 4), (100, 4), (100, 16), (400, 4))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    parser.add_argument("--one", nargs=2, type=int, metavar=("MB", "SILOS"), help="measure one line in this process")
    arguments = parser.parse_args()
    if arguments.one:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            print(json.dumps(measure(Path(name), *arguments.one)))
        return
    speed = bandwidth()
    print(f"memory bandwidth, one core: {speed / 1e9:.1f} GB/s")
    print(f"{'model MB':>9}{'silos':>7}{'check s':>9}{'fold s':>8}{'GB/s':>7}{'of bandwidth':>14}{'peak RSS MB':>13}")
    for megabytes, silos in SIZES:
        called = [sys.executable, "-m", "tests.performance.aggregate", "--one", str(megabytes), str(silos)]
        called += ["--folder", str(arguments.folder)] if arguments.folder else []
        found = json.loads(subprocess.run(called, check=True, capture_output=True, text=True).stdout)
        rate = (silos + 2) * megabytes * 1e6 / found["fold"]
        print(
            f"{megabytes:>9}{silos:>7}{found['check']:>9.3f}{found['fold']:>8.2f}{rate / 1e9:>7.1f}"
            f"{rate / speed:>14.0%}{found['peak']:>13.0f}"
        )


def bandwidth(values: int = 1 << 25) -> float:
    """Return bytes read and written a second when copying an array too large for any cache; the best of five."""
    source = np.ones(values)
    target = np.empty(values)
    return max(2 * source.nbytes / seconds_of(lambda: np.copyto(target, source)) for _ in range(5))


def measure(folder: Path, megabytes: int, silos: int) -> dict[str, float]:
    """Check one update and fold all, the best of three each; with this process's peak memory in MB."""
    files = [folder / f"{number}.safetensors" for number in range(silos + 1)]
    for number, path in enumerate(files):
        # Written by another process: the arrays must not count as this one's memory.
        write = "from tests.performance.aggregate import write_model; import sys; write_model(*sys.argv[1:])"
        subprocess.run([sys.executable, "-c", write, str(path), str(megabytes), str(number)], check=True)
    base = read_layout(files[0])
    updates = [Update(f"silo-{number}", path, number + 1) for number, path in enumerate(files[1:])]
    return {
        "check": min(seconds_of(lambda: verify_update(files[1], base)) for _ in range(3)),
        "fold": min(seconds_of(lambda: fold_afresh(files[0], updates, folder / "new")) for _ in range(3)),
        "peak": peak_memory(os.getpid()),
    }


def fold_afresh(base: Path, updates: list[Update], out: Path) -> None:
    """Fold into a file that is not there yet, as in a round."""
    out.unlink(missing_ok=True)
    fold(base, updates, out)


def write_model(path: str, megabytes: str, seed: str) -> None:
    """Write a model of that many MB."""
    rng = np.random.default_rng(int(seed))
    values = int(int(megabytes) * 1e6 / 4 / TENSORS)
    save_file({f"layer{number:02}": rng.standard_normal(values, np.float32) for number in range(TENSORS)}, Path(path))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def seconds_of(work: object) -> float:
    """Return how long a call takes."""
    assert callable(work)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
