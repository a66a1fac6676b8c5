"""What each level of compression costs and keeps: ``python -m tests.performance.compression``.

Accuracy is that of federated averaging over four sites with scikit-learn's handwritten digits, dealt by class so that
no site has all of them alike, and a small network in numpy, by the code of ``medsilo simulate``: three seeds, mean and
range. Bytes are those of an update of that network; seconds are for an update of 100 MB, both ways, on one core.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.datasets import load_digits

from federation_hub.client.simulation import SimulatedSite, Trainer, simulate
from pipelines.compression.files import compress, decompress
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.compression import Compression, Half, Int8, Lossless, TopK, Uncompressed, fraction_of
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import StudyPlan

SITES, ROUNDS, SEEDS, HIDDEN, STEPS, RATE = 4, 30, 3, 128, 10, 0.1
LEVELS: tuple[Compression, ...] = (Uncompressed(), Lossless(), Half(), Int8(), TopK(fraction=0.1), TopK(fraction=0.01))
DIGEST = "blake3:" + "a" * 64
LARGE = 25_000_000
Arrays = dict[str, Any]


@dataclass(frozen=True)
class Digits:
    """Pictures and labels, for training at each site and for the test of all."""

    sites: list[tuple[Any, Any]]
    test: tuple[Any, Any]


def dealt(seed: int) -> Digits:
    """Deal the digits: half of each class to one site, the rest evenly over the others."""
    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(labels))
    images, labels = (images[order] / 16).astype(np.float32), labels[order]
    owner = np.where(rng.random(len(labels)) < 0.5, labels % SITES, rng.integers(0, SITES, len(labels)))
    owner[:400] = -1
    sites = [(images[owner == place], labels[owner == place]) for place in range(SITES)]
    return Digits(sites, (images[:400], labels[:400]))


def start_of(seed: int) -> Arrays:
    """Return the first global model."""
    rng = np.random.default_rng(seed)
    return {
        "in.weight": (rng.standard_normal((64, HIDDEN)) / 8).astype(np.float32),
        "in.bias": np.zeros(HIDDEN, np.float32),
        "out.weight": (rng.standard_normal((HIDDEN, 10)) / HIDDEN**0.5).astype(np.float32),
        "out.bias": np.zeros(10, np.float32),
    }


def hidden_and_scores(model: Arrays, images: Any) -> tuple[Any, Any]:
    """Return the hidden layer and the classes' scores."""
    hidden = np.maximum(images @ model["in.weight"] + model["in.bias"], 0)
    return hidden, hidden @ model["out.weight"] + model["out.bias"]


def trained(model: Arrays, images: Any, labels: Any, rng: np.random.Generator) -> Arrays:
    """Return the model after some steps of gradient descent."""
    model = {name: array.copy() for name, array in model.items()}
    for _ in range(STEPS):
        batch = rng.integers(0, len(labels), 32)
        hidden, scores = hidden_and_scores(model, images[batch])
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        chances[np.arange(32), labels[batch]] -= 1
        back = (chances @ model["out.weight"].T) * (hidden > 0) / 32
        model["out.weight"] -= np.float32(RATE) * (hidden.T @ chances / 32).astype(np.float32)
        model["out.bias"] -= np.float32(RATE) * chances.mean(axis=0).astype(np.float32)
        model["in.weight"] -= np.float32(RATE) * (images[batch].T @ back).astype(np.float32)
        model["in.bias"] -= np.float32(RATE) * back.sum(axis=0).astype(np.float32)
    return model


def trainer(folder: Path, place: int, data: tuple[Any, Any], seed: int) -> Trainer:
    """Return a site's training."""

    def train(weights: Path, number: int, validate_only: bool) -> tuple[Path, float]:
        model, path = load_file(weights), folder / f"trained{place}"
        found = trained(model, *data, np.random.default_rng([seed, place, number]))
        save_file({name: found[name] - model[name] for name in model}, path)
        return path, 0.0

    return train


def accuracy(level: Compression, seed: int, folder: Path) -> float:
    """Return the accuracy of the last global model on the test pictures."""
    digits, silos = dealt(seed), tuple(f"silo-{place:06}" for place in range(SITES))
    plan = StudyPlan(
        name="digits",
        title="Digits",
        benchmark=BenchmarkReference(name="digits", version=1, digest=DIGEST),
        model=ModelReference(digest=DIGEST, size=1),
        silos=silos,
        rounds=ROUNDS,
        quorum=SITES,
        deadline_seconds=60,
        compression=level,
    )
    save_file(start_of(seed), folder / "start")
    sites = [
        SimulatedSite(silos[place], len(data[1]), trainer(folder, place, data, seed))
        for place, data in enumerate(digits.sites)
    ]
    model = load_file(simulate(plan, folder / "start", sites, folder)[-1].path)
    scores = hidden_and_scores(model, digits.test[0])[1]
    return float((scores.argmax(axis=1) == digits.test[1]).mean())


def size_of(level: Compression, update: Path, folder: Path) -> int:
    """Return the bytes of an update at a level."""
    if level.level == "none":
        return update.stat().st_size
    compress(update, folder / "sent", level.level, fraction=fraction_of(level))
    return (folder / "sent").stat().st_size


def seconds_of(level: Compression, update: Path, folder: Path) -> tuple[float, float]:
    """Return the seconds a site and the hub take for a large update."""
    if level.level == "none":
        return 0.0, 0.0
    start = time.perf_counter()
    compress(update, folder / "sent", level.level, fraction=fraction_of(level))
    middle = time.perf_counter()
    decompress(folder / "sent", update, folder / "received", level.level, fraction=fraction_of(level))
    return middle - start, time.perf_counter() - middle


def main() -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = folder / "large"
        rng = np.random.default_rng(0)
        save_file({f"t{n}": rng.standard_normal(LARGE // 25, np.float32) * np.float32(1e-3) for n in range(25)}, large)
        print(f"{'level':>12}{'bytes':>9}{'ratio':>7}{'site s':>8}{'hub s':>7}{'accuracy':>10}{'range':>16}")
        plain = 0
        for level in LEVELS:
            found = [_fresh(folder, level, seed) for seed in range(SEEDS)]
            size = size_of(level, folder / f"none-{SEEDS - 1}" / "trained0", folder)
            plain = plain or size
            site, hub = seconds_of(level, large, folder)
            title = level.level + (f" {level.fraction:g}" if isinstance(level, TopK) else "")
            print(
                f"{title:>12}{size:>9}{plain / size:>7.1f}{site:>8.2f}{hub:>7.2f}{np.mean(found):>10.3f}"
                f"{f'{min(found):.3f} to {max(found):.3f}':>16}"
            )


def _fresh(folder: Path, level: Compression, seed: int) -> float:
    own = (
        folder / f"{level.level}-{seed}" / str(fraction_of(level)) if level.level != "none" else folder / f"none-{seed}"
    )
    own.mkdir(parents=True)
    return accuracy(level, seed, own)


if __name__ == "__main__":
    main()
