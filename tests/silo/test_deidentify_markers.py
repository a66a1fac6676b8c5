"""Unique markers planted all over real objects of several makers: none may be found in anything that is written."""

import re
import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from silo_node.cohorts.build import build_cohort
from silo_node.cohorts.registry import prepare_registration
from silo_node.deidentify.pixel_risk import RISKS
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.run import IntakeRules, take_in_objects
from silo_node.state import Home
from tests.data import data_folder
from tests.silo.markers import MARKER, Markers, every_byte, plant
from tests.silo.preparations import classification, fit
from tests.silo.sources import save, write_table, xray

SAMPLES = (
    "nih-siemens/mr_0003/epi_pe_ap-00001.dcm",
    "nih-siemens/mr_0004/epi_pe_pa-00001.dcm",
    "nih-ge/mr_0004/axial_epi_fmri_interleaved_i_to_s-00001.dcm",
    "udacity-study1/12-T1post/000008.dcm",
    "udacity-study1/13_HCropVolume/1.dcm",
    "pydicom/CT_small.dcm",
    "pydicom/MR_small_RLE.dcm",
    "nema-wg04/CT1_J2KR",
    "pydicom/MR-SIEMENS-DICOM-WithOverlays.dcm",
    "pydicom/JPEG2000.dcm",
    "dcmqi-seg-sr/01.dcm",
    "highdicom/dx_image.dcm",
    "nema-wg04/MR1_J2KI",
    "nema-wg04/US1_J2KR",
)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    samples, folder, marker = data_folder("dicom-samples"), tmp_path_factory.mktemp("pacs"), Markers()
    for name in SAMPLES:
        dataset = dcmread(samples / name)
        plant(dataset, marker)
        save(dataset, folder / f"{marker()}_Doe_John" / f"{marker()}.dcm")
    for seed in range(6):
        dataset = xray(patient=marker(), seed=seed)
        plant(dataset, marker)
        dataset.BurnedInAnnotation = "YES" if seed == 0 else "NO"
        save(dataset, folder / f"study{seed}" / f"{marker()}.dcm")
    (folder / f"{marker()}.txt").write_text(marker())
    (folder / f"cut-{marker()}.dcm").write_bytes((next(folder.glob("study1/*"))).read_bytes()[:900])
    rows = [{"path": path.name, "label": index % 2, "note": marker()} for index, path in enumerate(folder.glob("*_*"))]
    rows += [{"path": f"study{seed}", "label": seed % 2, "note": marker()} for seed in range(6)]
    write_table(folder / "labels.csv", rows)
    return folder, marker.count


def test_the_search_would_find_what_was_planted(hospital: tuple[Path, int]) -> None:
    folder, planted = hospital
    found = {hit.lower() for _, data in every_byte(folder) for hit in re.findall(rb"(?i)mrk[0-9]{5}", data)}
    assert len(found) > planted * 0.6
    kinds = (b"770077.", b"1770077", b"1777")
    assert all(any(kind in data for _, data in every_byte(folder)) for kind in kinds)


def test_no_marker_is_in_anything_that_intake_and_cohort_write(hospital: tuple[Path, int], tmp_path: Path) -> None:
    folder, _ = hospital
    home = Home(tmp_path / "silo")
    source = DicomFolder(folder, folder / "labels.csv")
    report = take_in_objects(home, source, IntakeRules(allowed_risks=frozenset(RISKS) - {"burned-in-annotation"}))
    assert report.added == len(SAMPLES) + 5
    assert report.quarantined == {"pixel-risk": 1, "not-dicom": 1, "file-undecodable": 1}
    cohort = build_cohort(home, classification(), fit, minimum_cases=1).cohort
    registration = prepare_registration(home, cohort.cohort_id, silo_id="silo-abcdef12", provenance="clinical")

    written = every_byte(home.path)
    # What came in is kept as it came, with its index, and so is where a refused file lies: all in the private store.
    kept_as_it_came = tuple(f"private/{name}" for name in ("objects", "places.sqlite", "identifiers.sqlite"))
    outside = [
        (path, data) for path, data in written if not str(path.relative_to(home.path)).startswith(kept_as_it_came)
    ]
    assert [path for path, data in outside if MARKER.search(data)] == []
    assert not MARKER.search(registration.model_dump_json().encode())
    for text in (b"Musterfrau", b"musterfrau", b"19640812", b"1964-08-12", b"Doe_John", b"Regression"):
        assert [path for path, data in outside if text in data] == []
    assert any(MARKER.search(data) for path, data in written if path.name == "places.sqlite")


def test_what_a_terminal_or_a_log_shows_holds_no_marker(
    hospital: tuple[Path, int], tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = hospital
    shutil.copytree(folder, tmp_path / "copy")
    take_in_objects(Home(tmp_path / "silo"), DicomFolder(tmp_path / "copy"), IntakeRules())
    shown = capfd.readouterr()
    assert not MARKER.search((shown.out + shown.err + caplog.text).encode())
