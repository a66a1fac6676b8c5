"""Exported DICOM files: valid, consistent, marked, and without a word of their source."""

import json
import stat
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from silo_node.deidentify.pixel_risk import RISKS
from silo_node.export.run import Exported, export_objects
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.run import IntakeRules, take_in_objects
from silo_node.series.volume import series_volume
from silo_node.state import Home
from tests.data import data_folder
from tests.silo.markers import MARKER, Markers, every_byte, plant
from tests.silo.pacs.dcmtk import program
from tests.silo.series import series
from tests.silo.sources import save, xray
from tests.silo.test_cohort_cli import SiloNode

EVERY_RISK = frozenset(RISKS)
REAL = (
    "udacity-study1/13_HCropVolume/*.dcm",
    "nih-ge/mr_0004/*-000[01][0-9].dcm",
    "nih-siemens/mr_000?/*.dcm",
    "dcmqi-seg-sr/0?.dcm",
    "pydicom/CT_small.dcm",
    "pydicom/JPEG2000.dcm",
    "pydicom/MR-SIEMENS-DICOM-WithOverlays.dcm",
    "nema-wg04/CT1_J2KR",
    "nema-wg04/MR1_RLE",
    "nema-wg04/US1_J2KR",
    "highdicom/dx_image.dcm",
)


def taken(home: Home, folder: Path) -> Home:
    take_in_objects(home, DicomFolder(folder), IntakeRules(allowed_risks=EVERY_RISK))
    return home


def export(home: Home, out: Path, project: str = "study", risks: frozenset[str] = EVERY_RISK) -> Exported:
    return export_objects(home, out, project=project, collection="default", allowed_risks=risks)


def written(out: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(out.rglob("*.dcm"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Real objects of several makers, markers planted all over."""
    folder, marker = tmp_path_factory.mktemp("pacs"), Markers()
    for pattern in REAL:
        for number, path in enumerate(sorted(data_folder("dicom-samples").glob(pattern))):
            dataset = dcmread(path)
            patient = dataset.get("PatientID") or "MRK00000"
            plant(dataset, marker)
            dataset.PatientID, dataset.StudyDate, dataset.SeriesDate = patient, "20240229", "20240301"
            dataset.AcquisitionDate = dataset.ContentDate = "20240301"
            save(dataset, folder / f"{path.parent.name}-{path.stem}-{number}.dcm")
    return taken(Home(tmp_path_factory.mktemp("silo")), folder)


@pytest.fixture(scope="module")
def exported(site: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported]:
    out = tmp_path_factory.mktemp("export") / "files"
    return out, export(site, out)


def test_every_object_is_written_once_and_only_its_owner_reads_it(exported: tuple[Path, Exported]) -> None:
    out, done = exported
    assert done.written == len(written(out)) > 60
    assert done.refused == {}
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*.dcm")} == {0o600}
    assert json.loads((out / "export.json").read_text())["written"] == done.written


def test_no_marker_is_in_any_exported_byte(exported: tuple[Path, Exported]) -> None:
    assert [path for path, data in every_byte(exported[0]) if MARKER.search(data)] == []


def test_nothing_private_no_overlay_and_no_kept_uid_is_left(site: Home, exported: tuple[Path, Exported]) -> None:
    kept = [dcmread(path) for path in (site.private / "objects").rglob("*.dcm")]
    source_uids = {str(uid) for dataset in kept for uid in uids(dataset)}
    for dataset in written(exported[0]):
        assert not [element.tag for element in dataset.iterall() if element.tag.is_private]
        assert not [element for element in dataset if 0x6000 <= element.tag.group <= 0x60FF]
        assert not {str(uid) for uid in uids(dataset)} & source_uids
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID


def uids(dataset: Dataset) -> list[str]:
    found = [element.value for element in dataset.iterall() if element.VR == "UI"]
    flat = [uid for value in found for uid in ([value] if isinstance(value, str) else value)]
    return [uid for uid in flat if not str(uid).startswith("1.2.840.10008.")]


def test_every_object_says_by_which_profile_it_was_de_identified(exported: tuple[Path, Exported]) -> None:
    for dataset in written(exported[0]):
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
        named = [(item.CodeValue, item.CodingSchemeDesignator) for item in dataset.DeidentificationMethodCodeSequence]
        assert named == [("113100", "DCM"), ("113103", "DCM"), ("113107", "DCM"), ("113108", "DCM")]


def test_the_pixels_are_those_of_the_source(site: Home, exported: tuple[Path, Exported]) -> None:
    """Compared as highdicom places them, for two series of two makers."""
    for pattern, count in (("13_HCrop", 32), ("0?.dcm", 3)):
        folder = "udacity-study1/13_HCropVolume" if count == 32 else "dcmqi-seg-sr"
        glob = "*.dcm" if count == 32 else pattern
        sources = [dcmread(path) for path in (data_folder("dicom-samples") / folder).glob(glob)]
        ours = [dataset for dataset in written(exported[0]) if len(group(exported[0], dataset)) == count]
        assert len(ours) == count
        before, after = (series_volume(datasets) for datasets in (sources, ours))
        assert np.array_equal(before.values, after.values)
        assert before.affine == after.affine
        assert highdicom.get_volume_from_series(ours).array.shape[0] == count


def group(out: Path, dataset: Dataset) -> list[Path]:
    return list(out.rglob(f"{dataset.SeriesInstanceUID}/*.dcm"))


@pytest.mark.parametrize("name", ["CT_small", "HCrop"])
def test_dciodvfy_finds_nothing_that_the_source_did_not_have(site: Home, tmp_path: Path, name: str) -> None:
    """An independent reader's judgement of the object's modules (dicom3tools)."""
    folder = tmp_path / "pacs"
    sample = {"CT_small": "pydicom/CT_small.dcm", "HCrop": "udacity-study1/13_HCropVolume/1.dcm"}[name]
    save(dcmread(data_folder("dicom-samples") / sample), folder / "a.dcm")
    out = tmp_path / "out"
    assert export(taken(Home(tmp_path / "silo"), folder), out).written == 1
    before, after = faults(folder / "a.dcm"), faults(next(out.rglob("*.dcm")))
    assert after <= before


def faults(path: Path) -> set[str]:
    done = subprocess.run([program("dciodvfy"), str(path)], capture_output=True, text=True, errors="replace")
    return {line for line in done.stderr.splitlines() if line.startswith("Error")}


def test_references_follow_the_objects_they_name(tmp_path: Path) -> None:
    slices = series(np.zeros((4, 5, 3), np.int16))
    for dataset in slices:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = slices[0].SOPClassUID, slices[0].SOPInstanceUID
        item.TextValue = "seen by Dr. Who"
        dataset.ReferencedImageSequence = Sequence([item])
    for index, dataset in enumerate(slices):
        save(dataset, tmp_path / f"pacs/{index}.dcm")
    export(taken(Home(tmp_path / "silo"), tmp_path / "pacs"), tmp_path / "out")
    found = written(tmp_path / "out")
    named = {dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID for dataset in found}
    assert named <= {dataset.SOPInstanceUID for dataset in found}
    assert len(named) == len({dataset.StudyInstanceUID for dataset in found}) == 1
    assert not [dataset for dataset in found if "TextValue" in dataset.ReferencedImageSequence[0]]


def two_visits(folder: Path, home: Home) -> Home:
    for patient in ("MRN-1", "MRN-2"):
        for number, day in enumerate(("20240105", "20240120")):
            elements: dict[str, Any] = {"StudyDate": day, "PatientAge": "093Y", "StudyTime": "101500"}
            save(xray(patient=patient, seed=number, **elements), folder / f"{patient}-{number}.dcm")
    return taken(home, folder)


def day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def test_intervals_of_a_patient_are_kept_and_each_patient_moves_otherwise(tmp_path: Path) -> None:
    export(two_visits(tmp_path / "pacs", Home(tmp_path / "silo")), tmp_path / "out")
    found: dict[str, list[date]] = {}
    for dataset in written(tmp_path / "out"):
        found.setdefault(dataset.PatientID, []).append(day(dataset.StudyDate))
        assert (dataset.StudyTime, dataset.PatientBirthDate, dataset.AccessionNumber) == ("", "", "")
        assert (dataset.PatientAge, dataset.PatientSex) == ("090Y", "F")
    assert [abs((dates[0] - dates[1]).days) for dates in found.values()] == [15, 15]
    firsts = [min(dates) for dates in found.values()]
    assert firsts[0] != firsts[1]
    assert all(0 < (date(2024, 1, 5) - first).days <= 365 for first in firsts)


def test_two_projects_cannot_be_joined_and_one_is_the_same_each_time(tmp_path: Path) -> None:
    home = two_visits(tmp_path / "pacs", Home(tmp_path / "silo"))
    names = []
    for place, project in (("a", "one"), ("b", "two"), ("c", "one")):
        export(home, tmp_path / place, project)
        names.append({dataset.PatientID for dataset in written(tmp_path / place)})
        names[-1] |= {uid for dataset in written(tmp_path / place) for uid in uids(dataset)}
    assert names[0] == names[2]
    assert not names[0] & names[1]


def test_what_the_policy_refuses_is_not_exported(tmp_path: Path) -> None:
    save(xray(patient="MRN-1", BurnedInAnnotation="YES"), tmp_path / "pacs/a.dcm")
    home = taken(Home(tmp_path / "silo"), tmp_path / "pacs")
    assert export(home, tmp_path / "out", risks=frozenset()).refused == {"pixel-risk": 1}
    assert written(tmp_path / "out") == []


def test_a_text_of_the_source_in_what_is_kept_fails_closed(tmp_path: Path) -> None:
    """A device that writes the patient's name into a code string that is kept as it is."""
    save(xray(patient="MRN-1", ImageType=["ORIGINAL", "PRIMARY", "MUSTERFRAU"]), tmp_path / "pacs/a.dcm")
    home = taken(Home(tmp_path / "silo"), tmp_path / "pacs")
    assert export(home, tmp_path / "out").refused == {"identifier-leak": 1}
    assert written(tmp_path / "out") == []


def test_the_command_writes_into_an_empty_folder_only(tmp_path: Path) -> None:
    node = SiloNode(tmp_path / "silo")
    save(xray(patient="MRN-1"), tmp_path / "pacs/a.dcm")
    node.json("intake", "folder", str(tmp_path / "pacs"))
    done = node.json("export", "dicom", str(tmp_path / "out"), "--project", "heart")
    assert (done["written"], done["patients"], done["refused"]) == (1, 1, {})
    assert node.code("export", "dicom", str(tmp_path / "out"), "--project", "heart") == "already-exists"
