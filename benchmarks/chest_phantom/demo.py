"""The demonstration on synthetic chest X-rays: three hospitals with different devices, a researcher with a fourth's."""

import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
from benchmarks.phantom.chest import Scanner, chest
from benchmarks.phantom.dicom import Device, stored_values, write_dicom
from benchmarks.phantom.patients import invent_patient

NEEDS_DATA = False
SITES: tuple[str, ...] = ("Birchwood Hospital", "Lakeside Clinic", "Saint Orla Infirmary")
SPLITS: tuple[tuple[str, int], ...] = (("train", 88), ("validation", 48), ("test", 96))
"""Patients of each split at each hospital; every fifth has two images. Half of the patients have a finding."""

STUDY: dict[str, Any] = {
    "name": "opacity_over_three_hospitals",
    "title": "Opacity, trained over three hospitals",
    "model": "first-weights",
    "rounds": 8,
    "deadline_seconds": 120,
    "seed": 1,
    "local": {"epochs": 6, "batch_size": 16, "learning_rate": 4e-3, "augment": True},
}
"""A plan in the words of ``medsilo study new``; the demo fills in benchmark, model and silos."""

_DEVICES: tuple[tuple[Device, Scanner], ...] = (
    (
        Device("SIEMENS", "Phantom Ysio", "Birchwood Hospital Radiology"),
        Scanner(size=64, blur=0.5, noise=0.035),
    ),
    (
        Device(
            "GE MEDICAL SYSTEMS",
            "Phantom Discovery",
            "Lakeside Clinic",
            photometric="MONOCHROME1",
            bits=14,
            gain=9000.0,
            offset=1500.0,
        ),
        Scanner(size=72, blur=0.6, noise=0.06, gamma=1.15),
    ),
    (
        Device(
            "Philips Medical Systems",
            "Phantom DigitalDiagnost",
            "Saint Orla Infirmary",
            slope=2.0,
            intercept=-1024.0,
            gain=2800.0,
            offset=-200.0,
        ),
        Scanner(size=80, blur=1.0, noise=0.10, gamma=0.9),
    ),
)
_OWN: tuple[Device, Scanner] = (
    Device("FUJIFILM Corporation", "Phantom FDR", "University"),
    Scanner(size=64, blur=0.4, noise=0.03),
)
_OWN_CASES = 240


@dataclass(frozen=True)
class _Row:
    path: str
    label: str
    split: str


def write_sites(folder: Path, data: Path | None = None, seed: int = 2026) -> list[DemoSite]:
    """Write each hospital's DICOM folder and label table; ``data`` is not needed. The same seed, the same bytes."""
    return [_write_site(folder, number, seed) for number in range(len(SITES))]


def write_models(folder: Path, data: Path | None = None, seed: int = 2026) -> list[DemoModel]:
    """Make three bundles: two trained on images of a device that is in no silo, and one with its first weights."""
    definition = bundled("chest_phantom").model_dump(mode="json")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        raw, own = Path(name, "raw"), Path(name, "own")
        random = np.random.default_rng([seed, 99])
        for number in range(_OWN_CASES):
            image = chest(random, finding=number % 2 == 1, scanner=_OWN[1])
            write_raw(raw, number, stored_values(image, _OWN[0]).astype(np.float32), number % 2)
        prepare_own(own, raw, definition)
        return make_models(
            folder,
            definition,
            _recipes(seed),
            own,
            data=f"{_OWN_CASES} synthetic images of one device that no silo of the demonstration has",
            licence="CC0-1.0",
        )


def write_cases(raw: Path, data: Path | None = None, seed: int = 2026) -> None:
    """Write the public demo cohort as raw cases: the hospitals' scanners in turn, half of the images with a finding."""
    random = np.random.default_rng([seed, 98])
    for number in range(DEMO_CASES):
        scanner = _DEVICES[number % len(_DEVICES)][1]
        image = chest(random, finding=number % 2 == 1, scanner=scanner)
        write_raw(raw, number, stored_values(image, _OWN[0]).astype(np.float32), number % 2)


def _recipes(seed: int) -> tuple[Recipe, ...]:
    profile = reference_profile(Path(__file__).parent)
    residual = {
        "spatial_dims": 2,
        "n_input_channels": 1,
        "num_classes": 2,
        "layers": [1, 1, 1, 1],
        "block_inplanes": [8, 16, 32, 64],
        "conv1_t_size": 5,
        "conv1_t_stride": 2,
        "norm": ["group", {"num_groups": 4}],
    }
    local = {"batch_size": 16, "optimiser": "adam", "learning_rate": 3e-3}
    return (
        Recipe(
            "convolutional",
            "Small convolutional network, one device",
            "Four strided convolutions, trained by a researcher on images of one device.",
            profile,
            {**local, "epochs": 8},
            seed=seed,
        ),
        Recipe(
            "residual",
            "Small residual network, one device",
            "A narrow ResNet, trained by a researcher on images of one device.",
            {**profile, "network": {"name": "ResNet", "args": residual}},
            {**local, "epochs": 16, "augment": True},
            seed=seed,
        ),
        Recipe(
            "first-weights",
            "Small convolutional network, untrained",
            "The reference network with its first random weights: where the federated study starts.",
            profile,
            seed=seed + 1,
            baseline=True,
        ),
    )


def _write_site(folder: Path, number: int, seed: int) -> DemoSite:
    device, scanner = _DEVICES[number]
    random = np.random.default_rng([seed, number])
    name = SITES[number].lower().replace(" ", "-")
    place = folder / name
    rows = [
        row
        for index, split in enumerate(split for split, count in SPLITS for _ in range(count))
        for row in _write_patient(place / "studies", index, split, device, scanner, random)
    ]
    table = place / "labels.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows([row.path, row.label, row.split] for row in rows)
    return DemoSite(SITES[number], "dicom", place / "studies", table)


def _write_patient(
    place: Path, index: int, split: str, device: Device, scanner: Scanner, random: np.random.Generator
) -> list[_Row]:
    patient = invent_patient(random, index, device.institution[:2].upper())
    finding, rows = index % 2 == 1, []
    for image in range(2 if index % 5 == 0 else 1):
        path = place / f"study-{index:04d}" / f"image-{image + 1}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_dicom(path, chest(random, finding=finding, scanner=scanner), patient, device, number=image + 1)
        label = "opacity" if finding else "normal"
        rows.append(_Row(path.relative_to(place).as_posix(), label, split))
    return rows
