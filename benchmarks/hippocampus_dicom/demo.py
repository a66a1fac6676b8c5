"""The demonstration from DICOM series: the Decathlon's hippocampus as the PACS of three simulated hospitals hold it."""

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.demonstration import DemoModel, DemoSite
from benchmarks.hippocampus_mr import demo as volumes
from benchmarks.phantom.patients import invent_patient
from benchmarks.phantom.series import Scanner, write_study

NEEDS_DATA = True
SITES: tuple[str, ...] = ("Simulated site A", "Simulated site B", "Simulated site D")
SEED = volumes.SEED
STUDY: dict[str, Any] = {
    **volumes.STUDY,
    "name": "hippocampus_from_series",
    "title": "Hippocampus from DICOM series, trained over three simulated sites",
}
LABELS = ("anterior", "posterior")

_SCANNERS = {
    "Simulated site A": Scanner("SIEMENS", "Imagined 1", "Hospital of site A", 1.5),
    "Simulated site B": Scanner("GE MEDICAL SYSTEMS", "Imagined 2", "Hospital of site B", 3.0),
    "Simulated site D": Scanner("Philips Medical Systems", "Imagined 3", "Hospital of site D", 3.0),
}


def write_sites(
    folder: Path, data: Path | None = None, seed: int = SEED, *, studies: int | None = None
) -> list[DemoSite]:
    """Write each site's studies with a table that tells the split only; raises ``FileNotFoundError``.

    ``studies`` is the most that are written of a site, all where it is not given.
    """
    with tempfile.TemporaryDirectory() as place:
        sites = {site.name: site for site in volumes.write_sites(Path(place), data, seed)}
        return [_write_site(folder, sites[name], number, seed, studies) for number, name in enumerate(SITES)]


def write_models(folder: Path, data: Path | None = None, seed: int = SEED) -> list[DemoModel]:
    """Make the bundles of hippocampus_mr, which answer this question as well: what they are given is the same."""
    return volumes.write_models(folder, data, seed)


def write_cases(raw: Path, data: Path | None = None, seed: int = SEED) -> None:
    """Write the volumes of hippocampus_mr's demo cohort: what a series becomes is the same."""
    volumes.write_cases(raw, data, seed)


def _write_site(folder: Path, site: DemoSite, number: int, seed: int, studies: int | None) -> DemoSite:
    place, random = folder / site.folder.name, np.random.default_rng([seed, number])
    place.mkdir(parents=True, exist_ok=True)
    with site.table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:studies]
    for index, row in enumerate(rows):
        patient = invent_patient(random, index, "ABD"[number])
        values, affine = _volume(site.folder / row["path"])
        labels, _ = _volume(site.folder / row["label_path"])
        write_study(place / _study(index), values, labels, affine, patient, _SCANNERS[site.name], LABELS)
    table = place / "split.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split"])
        writer.writerows([_study(index), row["split"]] for index, row in enumerate(rows))
    return DemoSite(site.name, "dicom", place, table)


def _study(index: int) -> str:
    return f"study-{index:03d}"


def _volume(path: Path) -> tuple[Any, Any]:
    import nibabel

    volume: Any = nibabel.load(path)
    return volume.get_fdata(dtype=np.float32), volume.affine
