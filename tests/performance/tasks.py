"""Three tasks on real data for what is measured: four real hospitals' tables, X-rays dealt unevenly, four scanners."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from benchmarks.definition import bundled
from pipelines.bundles.profile import read_profile
from pipelines.cohort import CaseSource, PreparedCase, cases_of, read_manifest
from pipelines.networks import build_network
from pipelines.question import Question, read_question
from tests.performance.heart_disease import HOSPITALS, recoded

SGD = {"optimiser": "sgd", "momentum": 0.0}


@dataclass
class Cases:
    """Prepared cases in memory, as the trainer asks for them."""

    cases: Sequence[PreparedCase]

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> PreparedCase:
        return self.cases[index]

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return images and labels, stacked."""
        chosen = [self.cases[int(index)] for index in indices]
        return np.stack([case.image for case in chosen]), np.stack([np.asarray(case.label) for case in chosen])


@dataclass
class Site:
    """One site's three splits."""

    name: str
    train: Any
    validation: Any
    test: Any


@dataclass
class Study:
    """A task: its question, network and budget, how the sites of a seed are made, what it changes in a strategy."""

    question: Question
    network: Callable[[], nn.Module]
    local: dict[str, Any]
    rounds: int
    sites: Callable[[int], list[Site]]
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)


def joined(parts: Sequence[Any]) -> Cases:
    """Return the cases of all sites."""
    return Cases([part[index] for part in parts for index in range(len(part))])


def classification(name: str, shape: tuple[int, ...]) -> Question:
    """Return the question of a task of two classes; the data are public, so the limits are the lowest there are."""
    return read_question(
        {
            "name": name,
            "version": 1,
            "task": "classification",
            "labels": ["normal", "finding"],
            "input": {"channels": 1, "shape": list(shape)},
            "preparation": [],
            "metrics": [{"name": "auroc", "primary": True}],
            "disclosure": {"minimum_class": 5, "minimum_cell": 5, "decimals": 4},
        }
    )


def heart(data: Path, folder: Path) -> Study:
    """Return the heart-disease study: thirteen features, a network of sixteen hidden units."""
    tables = [hospital(data / f"processed.{name}.data") for name in HOSPITALS]

    def network() -> nn.Module:
        layers = (nn.Flatten(), nn.Linear(16, 16), nn.GroupNorm(4, 16), nn.ReLU(), nn.Linear(16, 2))
        return nn.Sequential(*layers).eval()

    def sites(seed: int) -> list[Site]:
        random = np.random.default_rng(seed)
        return [tabular(name, table, random) for name, table in zip(HOSPITALS, tables, strict=True)]

    local = {"epochs": 1, "batch_size": 8, "learning_rate": 0.05, "max_steps": 10, **SGD}
    return Study(classification("heart", (4, 4)), network, local, 10, sites)


def hospital(path: Path) -> np.ndarray:
    """Return the complete rows: ten attributes as thirteen features (chest pain, ECG by category), and the label."""
    with path.open() as file:
        rows = [row[:10] + row[-1:] for row in list(csv.reader(file))[1:]]
    table = np.array([[float(cell) for cell in row] for row in rows if "?" not in row])
    table = recoded(table)
    pain = table[:, 2:3] == np.array([2, 3, 4])
    ecg = table[:, 6:7] == np.array([1, 2])
    rest = table[:, [0, 1, 3, 4, 5, 7, 8, 9]]
    return np.column_stack([rest, pain, ecg, table[:, -1] > 0]).astype(np.float64)


def tabular(name: str, table: np.ndarray, random: np.random.Generator) -> Site:
    """Divide a hospital's rows: a third for the test, a sixth for validation, scaled by its own training rows."""
    rows = random.permutation(table)
    cuts = np.split(rows, [len(rows) // 3, len(rows) // 3 + len(rows) // 6])
    test, validation, train = cuts
    mean, spread = train[:, :-1].mean(axis=0), train[:, :-1].std(axis=0) + 1e-6

    def cases(part: np.ndarray) -> Cases:
        features = np.pad((part[:, :-1] - mean) / spread, ((0, 0), (0, 3))).astype(np.float32)
        rows = zip(features.reshape(-1, 1, 4, 4), part[:, -1], strict=True)
        return Cases([PreparedCase(row, int(label), (1.0, 1.0)) for row, label in rows])

    return Site(name, cases(train), cases(validation), cases(test))


def pneumonia(data: Path, folder: Path) -> Study:
    """Return the PneumoniaMNIST study: four sites with other shares of the classes, a small convolutional network."""
    images, labels = archive(data, "train")
    test_images, test_labels = archive(data, "test")

    def network() -> nn.Module:
        blocks: list[nn.Module] = []
        for before, after in ((1, 8), (8, 16), (16, 32)):
            blocks += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(4, after), nn.ReLU()]
        return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)).eval()

    def sites(seed: int) -> list[Site]:
        random = np.random.default_rng(seed)
        dealt = dirichlet(labels, random)
        tests = np.array_split(random.permutation(len(test_labels)), len(dealt))
        made = []
        for place, (own, tested) in enumerate(zip(dealt, tests, strict=True)):
            cut = max(20, len(own) // 8)
            parts = (pictures(images[own[cut:]], labels[own[cut:]]), pictures(images[own[:cut]], labels[own[:cut]]))
            made.append(Site(f"site {place}", *parts, pictures(test_images[tested], test_labels[tested])))
        return made

    local = {"epochs": 1, "batch_size": 32, "learning_rate": 0.3, "max_steps": 20, **SGD}
    return Study(
        classification("pneumonia", (28, 28)), network, local, 12, sites, tuned(20, fedadam=0.03, fedyogi=0.03)
    )


def tuned(steps: int, **rates: float) -> dict[str, dict[str, Any]]:
    """Return what a task changes: FedNova's steps, and rates at the hub, set by the validation scores of one seed."""
    adapted = {name: {"strategy": {"name": name, "learning_rate": rate}} for name, rate in rates.items()}
    return {"fednova": {"local": {"normalise_to": steps}}, **adapted}


def archive(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a split's images and labels."""
    with np.load(data / f"pneumoniamnist_{split}.npz", allow_pickle=False) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"].reshape(-1).astype(np.int64)


def dirichlet(labels: np.ndarray, random: np.random.Generator, sites: int = 4) -> list[np.ndarray]:
    """Deal each class over the sites by shares drawn from Dirichlet(0.5), until every site has 25 of each."""
    while True:
        dealt: list[list[np.ndarray]] = [[] for _ in range(sites)]
        for label in (0, 1):
            own = random.permutation(np.flatnonzero(labels == label))
            cuts = (np.cumsum(random.dirichlet([0.5] * sites))[:-1] * len(own)).astype(int)
            for site, part in zip(dealt, np.split(own, cuts), strict=True):
                site.append(part)
        if min(len(part) for site in dealt for part in site) >= 25:
            return [random.permutation(np.concatenate(site)) for site in dealt]


def pictures(images: np.ndarray, labels: np.ndarray) -> Cases:
    """Return prepared cases."""
    values = ((images.astype(np.float32) / 255 - 0.57) / 0.17)[:, None]
    return Cases([PreparedCase(image, int(label), (1.0, 1.0)) for image, label in zip(values, labels, strict=True)])


def hippocampus(data: Path, folder: Path) -> Study:
    """Return the hippocampus study: the demonstration's sites, prepared once, and a small U-Net.

    The reference network has twice the channels, residual units, and takes five times as long.
    """
    from benchmarks.demonstration import reference_profile
    from benchmarks.hippocampus_mr import demo
    from tests.performance.federated_quality import build_cohort

    definition = bundled("hippocampus_mr")
    question = read_question(definition.model_dump(mode="json"))
    found = demo.write_sites(folder / "sites", data)
    cohorts = [build_cohort(site, definition, folder / "cohorts" / str(place)) for place, site in enumerate(found)]
    sites = [in_memory(site.name, cohort, question) for site, cohort in zip(found, cohorts, strict=True)]
    words = reference_profile(Path(demo.__file__).parent)
    words["network"]["args"] |= {"channels": [8, 16, 32], "num_res_units": 0}
    profile = read_profile(words)

    def network() -> nn.Module:
        return build_network(profile.network_arguments()).eval()

    local = {"epochs": 1, "batch_size": 1, "learning_rate": 0.5, "max_steps": 24, **SGD}
    rates = {"fedadagrad": 0.02, "fedadam": 0.03, "fedyogi": 0.03}
    return Study(question, network, local, 6, lambda seed: sites, tuned(23, **rates))


def in_memory(name: str, cohort: Path, question: Question) -> Site:
    """Read a prepared cohort whole."""
    manifest = read_manifest(cohort)
    splits = [CaseSource(cohort, cases_of(manifest, split), question, lambda image: image) for split in SPLITS]
    return Site(name, *(Cases([source[index] for index in range(len(source))]) for source in splits))


SPLITS: tuple[Any, ...] = ("train", "validation", "test")
TASKS: dict[str, Callable[[Path, Path], Study]] = {
    "heart": heart,
    "pneumonia": pneumonia,
    "hippocampus": hippocampus,
}
