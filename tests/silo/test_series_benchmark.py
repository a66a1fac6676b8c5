"""The benchmark whose cohort comes from DICOM series: the same volumes and label maps as the NIfTI files."""

import csv
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.definition import bundled
from benchmarks.hippocampus_dicom import demo
from benchmarks.hippocampus_mr import demo as volumes
from silo_node.cohorts.build import build_cohort
from silo_node.cohorts.manifest import read_manifest
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.run import IntakeRules, take_in_objects
from silo_node.reports.cohort import write_cohort_report
from silo_node.state import Home
from tests.data import data_folder
from tests.silo.preparations import fit
from tests.silo.test_cohort_cli import SiloNode

STUDIES = 4


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return demo.write_sites(tmp_path_factory.mktemp("sites"), data_folder("hippocampus"), studies=STUDIES)


def as_ras(values: Any, affine: Any) -> Any:
    return nibabel.as_closest_canonical(nibabel.Nifti1Image(values, np.array(affine))).get_fdata()


def test_series_and_segmentations_become_the_volumes_they_were_made_of(sites: list[Any], tmp_path: Path) -> None:
    home, originals = Home(tmp_path / "silo"), originals_of(tmp_path / "nifti", number=0)
    report = take_in_objects(home, DicomFolder(sites[0].folder, sites[0].table), IntakeRules())
    assert (report.added, report.quarantined.total()) == (STUDIES, 0)
    found = []
    for case in home.raw.iterdir():
        affine = json.loads((case / "case.json").read_bytes())["affine"]
        image, label = (load_file(case / f"{name}.safetensors")[name] for name in ("image", "label"))
        found.append((as_ras(image, affine), as_ras(label, affine)))
    for image, label in originals:
        same = [taken for taken in found if taken[0].shape == image.shape and np.array_equal(taken[1], label)]
        assert len(same) == 1
        assert np.abs(same[0][0] - image).max() <= image.max() / 2**16 + 1e-3


def originals_of(folder: Path, number: int) -> list[tuple[Any, Any]]:
    site = volumes.write_sites(folder, data_folder("hippocampus"))[number]
    with site.table.open(newline="") as file:
        rows = list(csv.DictReader(file))[:STUDIES]
    pairs = [[nibabel.load(site.folder / row[name]) for name in ("path", "label_path")] for row in rows]
    return [tuple(as_ras(volume.get_fdata(), volume.affine) for volume in pair) for pair in pairs]


def test_a_cohort_of_series_is_built_with_its_report(sites: list[Any], tmp_path: Path) -> None:
    home, definition = Home(tmp_path / "silo"), bundled("hippocampus_dicom")
    take_in_objects(home, DicomFolder(sites[1].folder, sites[1].table), IntakeRules())
    built = build_cohort(home, definition, fit, minimum_cases=1)
    manifest = read_manifest(home.cohort(built.cohort.cohort_id))
    assert len(manifest.cases) == STUDIES
    assert {case.attributes["maker"] for case in manifest.cases} == {"ge"}
    assert {case.attributes["field_strength"] for case in manifest.cases} == {"3.0t"}
    page = write_cohort_report(home, built.cohort, built.steps, definition, {}).read_text()
    assert "Hospital of site" not in page
    assert "data:image/png" in page


def test_a_real_crop_of_a_real_study_comes_in_as_a_volume(tmp_path: Path) -> None:
    """``13_HCropVolume``: a hippocampus crop as a series, whose slices say they are derived."""
    home = Home(tmp_path / "silo")
    crop = data_folder("dicom-samples") / "udacity-study1/13_HCropVolume"
    allowed = IntakeRules(allowed_risks=frozenset({"secondary-capture"}))
    assert take_in_objects(home, DicomFolder(crop), IntakeRules()).quarantined == {"pixel-risk": 1}
    assert take_in_objects(home, DicomFolder(crop), allowed).added == 1
    (case,) = home.raw.iterdir()
    assert load_file(case / "image.safetensors")["image"].shape == (35, 51, 32)


@pytest.mark.slow
def test_the_benchmarks_own_preparation_takes_the_series(sites: list[Any], tmp_path: Path) -> None:
    """In the sandbox, with the benchmark's MONAI transforms; three sites' cohorts of one shape."""
    node = SiloNode(tmp_path / "silo")
    node.home.mkdir()
    (node.home / "policy.toml").write_text("minimum_cohort = 3\n")
    node.json("intake", "folder", str(sites[2].folder), "--table", str(sites[2].table))
    definition = Path(demo.__file__).with_name("benchmark.toml")
    built = node.json("cohort", "build", "hippocampus_dicom", "--definition", str(definition))
    assert (built["cases"], built["excluded"]) == (STUDIES, {})
    cases = list((Home(node.home).cohort(built["cohort_id"]) / "cases").iterdir())
    assert {load_file(case)["image"].shape for case in cases} == {(1, 32, 56, 40)}
    assert all({0, 1, 2} == set(np.unique(load_file(case)["label"])) for case in cases)
