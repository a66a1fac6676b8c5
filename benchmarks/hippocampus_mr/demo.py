"""The demonstration on the Decathlon's hippocampus: real MR volumes, four simulated hospitals of unequal size."""

import csv
import os
import shutil
import tempfile
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

NEEDS_DATA = True
SITES: tuple[str, ...] = ("Simulated site A", "Simulated site B", "Simulated site C", "Simulated site D")
SEED = 7

STUDY: dict[str, Any] = {
    "name": "hippocampus_over_four_sites",
    "title": "Hippocampus, trained over four simulated sites",
    "model": "first-weights",
    "rounds": 10,
    "deadline_seconds": 240,
    "seed": 1,
    "local": {"epochs": 1, "batch_size": 2, "optimiser": "adam", "learning_rate": 4e-3},
}

_GROUPS = "ABCD"
_OWN_CASES = 8
_VALIDATION = 5
"""Cases each site sets aside for validation: the fewest of which a mean may be told."""

Row = dict[str, str]


def write_sites(folder: Path, data: Path | None = None, seed: int = SEED) -> list[DemoSite]:
    """Lay out each site's volumes as links into ``data`` with a label table; raises ``FileNotFoundError``."""
    place = _folder(data)
    rows, own = _rows(place), _own(_rows(place), seed)
    return [_write_site(folder, number, place, rows, own, seed) for number in range(len(SITES))]


def write_models(folder: Path, data: Path | None = None, seed: int = SEED) -> list[DemoModel]:
    """Make three bundles: two trained on the researcher's eight volumes, which are in no site, and one untrained."""
    place = _folder(data)
    definition = bundled("hippocampus_mr").model_dump(mode="json")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        raw, own = Path(name, "raw"), Path(name, "own")
        for number, case in enumerate(sorted(_own(_rows(place), seed))):
            image, label = (_volume(_file(place / kind, case)) for kind in ("images", "labels"))
            write_raw(raw, number, image, label.astype(np.uint8))
        prepare_own(own, raw, definition)
        return make_models(
            folder,
            definition,
            _recipes(seed),
            own,
            data=f"{_OWN_CASES} volumes of the Decathlon's Task04 that no site has",
            licence="CC BY-SA 4.0",
        )


def write_cases(raw: Path, data: Path | None = None, seed: int = SEED) -> None:
    """Write the public demo cohort as raw cases: published test volumes."""
    place = _folder(data)
    cases = sorted(row["case"] for row in _rows(place) if row["split"] == "test")
    for number, index in enumerate(np.random.default_rng([seed, 98]).permutation(len(cases))[:DEMO_CASES]):
        image, label = (_volume(_file(place / kind, cases[index])) for kind in ("images", "labels"))
        write_raw(raw, number, image, label.astype(np.uint8))


def _folder(data: Path | None) -> Path:
    if data is None:
        raise FileNotFoundError(2, "give the folder of the hippocampus data with --data", "--data")
    return data


def _rows(place: Path) -> list[Row]:
    with (place / "cases.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _file(folder: Path, case: str) -> Path:
    return next(path for path in (folder / f"{case}.nii.gz", folder / f"{case}.nii") if path.exists())


def _volume(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    import nibabel

    volume: Any = nibabel.load(path)
    values: np.ndarray[Any, np.dtype[np.float32]] = volume.get_fdata(dtype=np.float32)
    return values


def _own(rows: list[Row], seed: int) -> set[str]:
    """Return the cases of the researcher: training cases of the largest group."""
    cases = sorted(row["case"] for row in rows if row["site"] == "C" and row["split"] == "train")
    return {cases[index] for index in np.random.default_rng(seed).permutation(len(cases))[:_OWN_CASES]}


def _write_site(folder: Path, number: int, data: Path, rows: list[Row], own: set[str], seed: int) -> DemoSite:
    place = folder / f"site-{_GROUPS[number].lower()}"
    mine = [row for row in rows if row["site"] == _GROUPS[number] and row["case"] not in own]
    training = sorted(row["case"] for row in mine if row["split"] == "train")
    order = np.random.default_rng([seed, number]).permutation(len(training))
    validation = {training[index] for index in order[:_VALIDATION]}
    for kind in ("images", "labels"):
        (place / kind).mkdir(parents=True, exist_ok=True)
        for row in mine:
            source = _file(data / kind, row["case"])
            _link(source, place / kind / source.name)
    table = place / "labels.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label_path", "patient", "split"])
        for row in mine:
            split = "validation" if row["case"] in validation else row["split"]
            paths = [f"{kind}/{_file(data / kind, row['case']).name}" for kind in ("images", "labels")]
            writer.writerow([*paths, row["case"], split])
    return DemoSite(SITES[number], "nifti", place, table)


def _link(source: Path, target: Path) -> None:
    """Link where the file system can, else copy; the source is only ever read."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _recipes(seed: int) -> tuple[Recipe, ...]:
    profile = reference_profile(Path(__file__).parent)
    residual = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "init_filters": 8}
    residual |= {"blocks_down": [1, 1, 1], "blocks_up": [1, 1]}  # type: ignore[dict-item]
    local = {"batch_size": 2, "optimiser": "adam", "learning_rate": 4e-3}
    return (
        Recipe(
            "u-net",
            "Small U-Net, eight volumes",
            "The reference network, trained by a researcher on eight volumes.",
            profile,
            {**local, "epochs": 12},
            seed=seed,
        ),
        Recipe(
            "segresnet",
            "Small SegResNet, eight volumes",
            "A shallow SegResNet, trained by a researcher on the same eight volumes.",
            {**profile, "network": {"name": "SegResNet", "args": residual}},
            {**local, "epochs": 4},
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
