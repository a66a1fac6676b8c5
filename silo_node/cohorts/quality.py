"""What a frozen cohort is like: counts, sizes, spacings, intensities, what is missing and what stands out.

Computed from the prepared files, one at a time, so that memory doesn't grow with the cohort. It is for the site's own
people: nothing of it leaves.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from silo_node.cohorts.manifest import Manifest, ManifestCase
from silo_node.cohorts.split import SPLITS
from silo_node.deidentify.output_check import IMAGE_FILE, RECORD_FILE
from silo_node.wire.benchmarks import BenchmarkDefinition

FAR_OUT = 5.0
"""Distance from the median, in robust standard deviations (1.4826 MAD), from which a value stands out."""

_ROBUST = 1.4826
MEASURED = ("mean", "deviation", "lowest", "highest")


@dataclass(frozen=True)
class CaseFacts:
    """What is measured of one case."""

    case: str
    split: str
    label: int | None
    mean: float
    deviation: float
    lowest: float
    """First percentile of the prepared image's values; single voxels say nothing."""

    highest: float
    """99th percentile."""

    spacing_mm: tuple[float, ...]
    """As it was taken in, before preparation."""

    shape: tuple[int, ...]
    structures_ml: tuple[float, ...] = ()
    """Volume of each structure in millilitres (square centimetres in two dimensions), for segmentation."""


@dataclass(frozen=True)
class Quality:
    """A cohort's quality, as its report's JSON gives it."""

    cases: int
    patients: int
    splits: dict[str, dict[str, int]]
    """Cases and patients of each split."""

    labels: dict[str, dict[str, int]]
    """For each label the cases in each split; for segmentation, the cases whose map has the structure."""

    attributes: dict[str, dict[str, int]]
    missing: dict[str, int]
    """Cases without a value, by attribute."""

    spacings_mm: dict[str, int]
    sizes: dict[str, int]
    outliers: tuple[tuple[str, str, float], ...]
    """Case, what stands out, and by how many robust standard deviations."""

    flat: tuple[str, ...]
    """Cases whose image has one value only."""

    without_structure: dict[str, int]
    """Segmentation: cases whose label map lacks a structure."""


def measure(folder: Path, raw: Path, manifest: Manifest, definition: BenchmarkDefinition) -> list[CaseFacts]:
    """Measure every case of a cohort's folder; ``raw`` is the store of raw cases."""
    return [_measure(folder, raw, case, definition) for case in manifest.cases]


def quality(facts: Sequence[CaseFacts], manifest: Manifest, definition: BenchmarkDefinition) -> Quality:
    """Summarise what was measured."""
    by_split = {split: [case for case in manifest.cases if case.split == split] for split in SPLITS}
    names = ("sex", "age_band", "maker", *sorted({name for case in manifest.cases for name in case.attributes}))
    attributes = {name: dict(Counter(case.attributes.get(name) or "" for case in manifest.cases)) for name in names}
    return Quality(
        cases=len(manifest.cases),
        patients=len(manifest.patients()),
        splits={
            split: {"cases": len(cases), "patients": len({case.patient for case in cases})}
            for split, cases in by_split.items()
        },
        labels=_labels(facts, definition),
        attributes={
            name: _sorted({value: n for value, n in found.items() if value}) for name, found in attributes.items()
        },
        missing={name: found.get("", 0) for name, found in attributes.items()},
        spacings_mm=_sorted(Counter(" × ".join(f"{part:.3g}" for part in case.spacing_mm) for case in facts)),
        sizes=_sorted(Counter(" × ".join(map(str, case.shape)) for case in facts)),
        outliers=tuple(sorted(_outliers(facts), key=lambda found: -abs(found[2]))),
        flat=tuple(case.case for case in facts if case.deviation == 0),
        without_structure=_without_structure(facts, definition),
    )


def _measure(folder: Path, raw: Path, case: ManifestCase, definition: BenchmarkDefinition) -> CaseFacts:
    tensors = load_file(folder / case.path)
    image = tensors["image"]
    lowest, highest = np.percentile(image, (1, 99))
    record = json.loads((raw / case.case / RECORD_FILE).read_bytes())
    return CaseFacts(
        case=case.case,
        split=case.split,
        label=case.label,
        mean=float(image.mean(dtype=np.float64)),
        deviation=float(image.std(dtype=np.float64)),
        lowest=float(lowest),
        highest=float(highest),
        spacing_mm=tuple(record["spacing_mm"]),
        shape=_shape(raw / case.case / IMAGE_FILE, len(record["spacing_mm"])),
        structures_ml=_structures(tensors, definition) if definition.task == "segmentation" else (),
    )


def _shape(path: Path, dimensions: int) -> tuple[int, ...]:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return tuple(header["image"]["shape"][-dimensions:])


def _structures(tensors: Mapping[str, Any], definition: BenchmarkDefinition) -> tuple[float, ...]:
    label = tensors["label"]
    spacing = np.asarray(tensors.get("spacing_mm", np.ones(label.ndim)), dtype=np.float64)[: label.ndim]
    counts = np.bincount(label.ravel(), minlength=len(definition.labels))
    scale = float(np.prod(spacing)) / 10.0**label.ndim
    return tuple(float(count * scale) for count in counts[1 : len(definition.labels)])


def _labels(facts: Sequence[CaseFacts], definition: BenchmarkDefinition) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for index, name in enumerate(definition.labels):
        if definition.task == "segmentation" and index == 0:
            continue
        has = [case for case in facts if _has(case, index)]
        found[name] = {split: sum(case.split == split for case in has) for split in SPLITS}
    return found


def _has(case: CaseFacts, index: int) -> bool:
    return case.structures_ml[index - 1] > 0 if case.structures_ml else case.label == index


def _without_structure(facts: Sequence[CaseFacts], definition: BenchmarkDefinition) -> dict[str, int]:
    if definition.task != "segmentation":
        return {}
    lacking = {
        name: sum(case.structures_ml[index] == 0 for case in facts) for index, name in enumerate(definition.labels[1:])
    }
    return {name: count for name, count in lacking.items() if count}


def _outliers(facts: Sequence[CaseFacts]) -> list[tuple[str, str, float]]:
    measured = {name: np.array([getattr(case, name) for case in facts]) for name in MEASURED}
    for index in range(max((len(case.structures_ml) for case in facts), default=0)):
        measured[f"structure {index + 1} volume"] = np.array([case.structures_ml[index] for case in facts])
    found = []
    for name, values in measured.items():
        far = _far(values)
        found += [
            (facts[place].case, name, round(float(far[place]), 1))
            for place in np.flatnonzero(abs(far) >= FAR_OUT).tolist()
        ]
    return found


def _far(values: Any) -> Any:
    """Return each value's distance from the median in robust standard deviations; 0 where all are alike."""
    centre = np.median(values)
    spread = _ROBUST * np.median(np.abs(values - centre))
    return np.zeros_like(values) if spread == 0 else (values - centre) / spread


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
