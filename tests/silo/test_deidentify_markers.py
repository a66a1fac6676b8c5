"""Unique markers planted all over real objects of several makers: none may be found in anything that is written."""

import re
import shutil
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from silo_node.cohorts.build import build_cohort
from silo_node.cohorts.registry import prepare_registration
from silo_node.deidentify.pixel_risk import RISKS
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.run import IntakeRules, take_in_objects
from silo_node.state import Home
from tests.data import data_folder
from tests.silo.preparations import classification, fit
from tests.silo.sources import save, write_table, xray

MARKER = re.compile(rb"mrk[0-9]{5}|m\x00r\x00k\x00([0-9]\x00){5}", re.IGNORECASE)
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
TEXT_ELEMENTS = {
    0x00080050: "SH",  # Accession Number
    0x00080080: "LO",  # Institution Name
    0x00080081: "ST",  # Institution Address
    0x00080090: "PN",  # Referring Physician's Name
    0x00081010: "SH",  # Station Name
    0x00081030: "LO",  # Study Description
    0x0008103E: "LO",  # Series Description
    0x00081070: "PN",  # Operators' Name
    0x00100010: "PN",  # Patient's Name
    0x00100020: "LO",  # Patient ID
    0x00101040: "LO",  # Patient's Address
    0x00104000: "LT",  # Patient Comments
    0x00181000: "LO",  # Device Serial Number
    0x00181030: "LO",  # Protocol Name
    0x00200010: "SH",  # Study ID
    0x00204000: "LT",  # Image Comments
    0x00321064: "SQ",
    0x0040A160: "UT",  # Text Value
    0x00080119: "UC",  # Long Code Value
    0x00080054: "AE",  # Retrieve AE Title
}


class Markers:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"MRK{self.count:05d}"


def plant(dataset: Dataset, marker: Markers) -> None:
    for tag, vr in TEXT_ELEMENTS.items():
        if vr != "SQ":
            dataset.add_new(tag, vr, marker())
    deep = Dataset()
    deep.PersonName, deep.TextValue, deep.CodeMeaning = marker(), marker(), marker()
    for _ in range(3):
        outer = Dataset()
        outer.InstitutionName = marker()
        outer.ContentSequence = Sequence([deep])
        deep = outer
    dataset.RequestAttributesSequence = Sequence([deep])
    block = dataset.private_block(0x0099, "MRK VENDOR " + marker(), create=True)
    block.add_new(0x01, "LO", marker())
    block.add_new(0x02, "UN", b"\0\1" + marker().encode() + b"\0")
    block.add_new(0x03, "OB", marker().encode("utf-16-le"))
    dataset.add_new(0x60004000, "LT", marker())
    dataset.file_meta.SourceApplicationEntityTitle = marker()
    dataset.preamble = marker().encode().ljust(128, b"\0")


def every_byte(root: Path, leave_out: Path | None = None) -> list[tuple[Path, bytes]]:
    """Return name and content of all that lies below a folder, names as bytes in the content."""
    paths = [path for path in root.rglob("*") if leave_out is None or not path.is_relative_to(leave_out)]
    return [(path, path.name.encode() + (path.read_bytes() if path.is_file() else b"")) for path in paths]


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
    assert len(found) > planted * 0.8


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
    kept_as_it_came = ("private/objects/", "private/objects.sqlite", "private/places.sqlite")
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
