"""The demonstration on PneumoniaMNIST: real X-rays, three simulated hospitals, a researcher with 240 images."""

import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.definition import bundled
from benchmarks.demonstration import (
    DEMO_CASES,
    DemoModel,
    DemoSite,
    Recipe,
    make_models,
    prepare_own,
    reference_profile,
    write_raw,
)

NEEDS_DATA = True
SITES: tuple[str, ...] = ("Simulated site A", "Simulated site B", "Simulated site C")
SEED = 11

STUDY: dict[str, Any] = {
    "name": "pneumonia_over_three_sites",
    "title": "Pneumonia, trained over three simulated sites",
    "model": "first-weights",
    "rounds": 10,
    "deadline_seconds": 240,
    "seed": 1,
    "local": {"epochs": 2, "augment": True, "batch_size": 32, "optimiser": "adam", "learning_rate": 1e-3},
}

_LABELS = ("normal", "pneumonia")
_OWN_A_CLASS = 120
_VALIDATION = 0.12
_SHARES: tuple[tuple[float, float], ...] = ((0.50, 0.25), (0.20, 0.45), (0.30, 0.30))
"""What part of the training images of each class a site has: site A mostly normal children, site B mostly ill ones."""

Images = np.ndarray[Any, np.dtype[np.uint8]]
Labels = np.ndarray[Any, np.dtype[np.int64]]
Indices = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True)
class _Deal:
    """Which images go where: the researcher's, and each site's for training and test."""

    own: Indices
    train: tuple[Indices, ...]
    test: tuple[Indices, ...]


def write_sites(folder: Path, data: Path | None = None, seed: int = SEED) -> list[DemoSite]:
    """Write each site's NPZ archive and label table from the folder ``data``; raises ``FileNotFoundError``."""
    train, test = _read(data, "train"), _read(data, "test")
    deal = _deal(train, test, seed)
    return [_write_site(folder, number, train, test, deal, seed) for number in range(len(SITES))]


def write_models(folder: Path, data: Path | None = None, seed: int = SEED) -> list[DemoModel]:
    """Make three bundles: two trained on the researcher's own images, which are in no site, and one untrained."""
    train, test = _read(data, "train"), _read(data, "test")
    definition = bundled("pneumonia_xray").model_dump(mode="json")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        raw, own = Path(name, "raw"), Path(name, "own")
        for number, index in enumerate(_deal(train, test, seed).own):
            write_raw(raw, number, train[0][index], int(train[1][index]))
        prepare_own(own, raw, definition)
        return make_models(
            folder,
            definition,
            _recipes(seed),
            own,
            data=f"{2 * _OWN_A_CLASS} images of PneumoniaMNIST's training split that no site has",
            licence="CC BY 4.0",
        )


def write_cases(raw: Path, data: Path | None = None, seed: int = SEED) -> None:
    """Write the public demo cohort as raw cases: images of the published test split, half of each class."""
    images, labels = _read(data, "test")
    random = np.random.default_rng([seed, 98])
    chosen = [random.permutation(np.flatnonzero(labels == label))[: DEMO_CASES // 2] for label in range(len(_LABELS))]
    for number, index in enumerate(np.concatenate(chosen)):
        write_raw(raw, number, images[index], int(labels[index]))


def acquire(image: Images, site: int, random: np.random.Generator) -> Images:
    """Change an image (28, 28) as another device might: A as it is; B darker, with noise; C flatter and softer."""
    values = image.astype(np.float64) / 255
    if site == 1:
        values = values**1.2 + random.normal(0, 0.01, values.shape)
    elif site == 2:
        values = 0.1 + 0.8 * ndimage.convolve1d(values, np.array([0.115, 0.77, 0.115]), axis=1, mode="nearest")
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _read(data: Path | None, split: str) -> tuple[Images, Labels]:
    """Read a split from ``pneumoniamnist_<split>.npz`` or the official ``pneumoniamnist.npz``."""
    if data is None:
        raise FileNotFoundError(2, "give the folder of PneumoniaMNIST with --data", "--data")
    parts = data / f"pneumoniamnist_{split}.npz"
    with np.load(parts if parts.exists() else data / "pneumoniamnist.npz", allow_pickle=False) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"].reshape(-1).astype(np.int64)


def _deal(train: tuple[Images, Labels], test: tuple[Images, Labels], seed: int) -> _Deal:
    """Deal the images out by class, after leaving out training images that occur before or in the test split."""
    random = np.random.default_rng(seed)
    seen = {image.tobytes() for image in test[0]}
    fresh = np.array([i for i, image in enumerate(train[0]) if _is_new(image, seen)])
    own: list[Indices] = []
    sites: list[list[Indices]] = [[] for _ in SITES]
    tests: list[list[Indices]] = [[] for _ in SITES]
    for label in range(len(_LABELS)):
        indices = random.permutation(fresh[train[1][fresh] == label])
        own.append(indices[:_OWN_A_CLASS])
        rest = indices[_OWN_A_CLASS:]
        cuts = (np.cumsum([share[label] for share in _SHARES])[:-1] * len(rest)).astype(int)
        dealt = np.array_split(random.permutation(np.flatnonzero(test[1] == label)), len(SITES))
        for site, (part, tested) in enumerate(zip(np.split(rest, cuts), dealt, strict=True)):
            sites[site].append(part)
            tests[site].append(tested)
    return _Deal(
        np.concatenate(own),
        tuple(np.concatenate(parts) for parts in sites),
        tuple(np.concatenate(parts) for parts in tests),
    )


def _is_new(image: Images, seen: set[bytes]) -> bool:
    key = image.tobytes()
    if key in seen:
        return False
    seen.add(key)
    return True


def _write_site(
    folder: Path, number: int, train: tuple[Images, Labels], test: tuple[Images, Labels], deal: _Deal, seed: int
) -> DemoSite:
    place = folder / f"site-{'abc'[number]}"
    place.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([seed, number])
    rows: list[tuple[str, str, str, str]] = []
    images: list[Images] = []
    for source, indices, split in ((train, deal.train[number], None), (test, deal.test[number], "test")):
        splits = [split] * len(indices) if split else _splits(source[1][indices])
        for index, chosen in zip(indices, splits, strict=True):
            rows.append((f"images.npz#{len(images)}", _LABELS[source[1][index]], f"child-{len(images):05d}", chosen))
            images.append(acquire(source[0][index], number, random))
    np.savez(place / "images.npz", images=np.stack(images))
    table = place / "labels.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "patient", "split"])
        writer.writerows(rows)
    return DemoSite(SITES[number], "npz", place, table)


def _splits(labels: Labels) -> list[str]:
    """Set the first part of each class aside for validation; the images were shuffled before."""
    left = {label: round(_VALIDATION * int((labels == label).sum())) for label in range(len(_LABELS))}
    splits = []
    for label in labels:
        left[int(label)] -= 1
        splits.append("validation" if left[int(label)] >= 0 else "train")
    return splits


def _recipes(seed: int) -> tuple[Recipe, ...]:
    profile = reference_profile(Path(__file__).parent)
    dense = {
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 2,
        "init_features": 16,
        "growth_rate": 8,
        "block_config": [2, 4, 4],
    }
    local = {"batch_size": 32, "optimiser": "adam", "learning_rate": 2e-3, "epochs": 8}
    return (
        Recipe(
            "convolutional",
            "Small convolutional network, 240 images",
            "The reference network, trained by a researcher on 240 images.",
            profile,
            local,
            seed=seed,
        ),
        Recipe(
            "dense",
            "Small DenseNet, 240 images",
            "A narrow DenseNet, trained by a researcher on the same 240 images.",
            {**profile, "network": {"name": "DenseNet", "args": dense}},
            local,
            seed=seed,
        ),
        Recipe(
            "first-weights",
            "Reference network, untrained",
            "The reference network with its first random weights: where the federated study starts.",
            profile,
            seed=seed + 1,
            baseline=True,
        ),
    )
