"""Taking in a folder of DICOM files."""

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from safetensors.numpy import load_file

from silo_node.catalogue import Catalogue
from silo_node.intake.dicom_folder import DicomFolder, files_below
from silo_node.intake.dicom_image import image_array, read_dicom
from silo_node.intake.run import IntakeReport, IntakeRules, take_in_objects
from silo_node.intake.source import Annotation, SourceCase
from silo_node.state import Home
from silo_node.wire.errors import BadInput
from tests.data import data_folder
from tests.silo.sources import save, write_table, xray


def take(home: Home, folder: Path, table: Path | None = None, *, risks: frozenset[str] = frozenset()) -> IntakeReport:
    return take_in_objects(home, DicomFolder(folder, table), IntakeRules(allowed_risks=risks))


def records(home: Home) -> list[dict[str, object]]:
    return [json.loads((folder / "case.json").read_bytes()) for folder in sorted(home.raw.iterdir())]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pacs"


def test_images_come_in_with_their_label_and_only_listed_attributes(home: Home, folder: Path) -> None:
    save(xray(patient="MRN-0001", seed=1), folder / "a/1.dcm")
    save(xray(patient="MRN-0002", seed=2, PatientAge="091Y", Manufacturer="G.E. Medical Systems"), folder / "b/2.dcm")
    table = write_table(folder / "labels.csv", [{"path": "a/1.dcm", "label": "Pneumonia"}, {"path": "b", "label": 0}])
    report = take(home, folder, table)
    assert (report.added, report.quarantined) == (2, Counter())
    found = {record["label"]: record for record in records(home)}
    assert found["pneumonia"]["attributes"] == {"age_band": "55-59", "maker": "siemens", "sex": "f", "view": "pa"}
    assert found["0"]["attributes"] == {"age_band": "90+", "maker": "ge", "sex": "f", "view": "pa"}
    assert found["0"]["spacing_mm"] == [0.2, 0.3]
    assert set(found["0"]) == {"case", "patient", "label", "split", "affine", "spacing_mm", "attributes"}


def test_a_row_may_name_a_study_folder_and_the_nearest_row_counts(home: Home, folder: Path) -> None:
    for seed, name in enumerate(("study/series1/1", "study/series1/2", "study/series2/1", "other/1")):
        save(xray(seed=seed), folder / name)
    table = write_table(
        folder.parent / "t.csv", [{"path": "study", "label": "a"}, {"path": "study/series2/1", "label": "b"}]
    )
    take(home, folder, table)
    assert Counter(str(record["label"]) for record in records(home)) == {"a": 2, "b": 1, "None": 1}


def test_rescale_is_applied_and_monochrome1_is_inverted(folder: Path) -> None:
    upright = xray(RescaleSlope=2, RescaleIntercept=-1024)
    stored = upright.pixel_array.astype(float)
    assert np.array_equal(image_array(upright), stored * 2 - 1024)
    inverted = xray(PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(image_array(inverted), 4095 - stored)
    negative = xray(PhotometricInterpretation="MONOCHROME1", PixelRepresentation=1, BitsStored=16, HighBit=15)
    assert np.array_equal(image_array(negative), -1 - stored)


def test_graphics_in_the_bits_above_bits_stored_are_cleared() -> None:
    plain = xray()
    drawn = xray()
    drawn.PixelData = (plain.pixel_array | 0x8000).astype(np.uint16).tobytes()
    assert np.array_equal(image_array(drawn), image_array(plain))


def test_an_image_taken_in_twice_is_one_case(home: Home, folder: Path) -> None:
    save(xray(seed=1), folder / "a.dcm")
    (folder / "copy").mkdir()
    (folder / "copy/b.dcm").write_bytes((folder / "a.dcm").read_bytes())
    first, second = take(home, folder), take(home, folder)
    assert (first.added, first.received.new, first.received.known) == (1, 1, 1)
    assert (second.added, second.received.new, second.received.known) == (0, 0, 2)
    assert len(list(home.raw.iterdir())) == 1


def test_the_same_uid_with_other_bytes_is_refused(home: Home, folder: Path) -> None:
    save(xray(seed=1), folder / "a.dcm")
    save(xray(seed=1, PatientComments="other bytes"), folder / "b.dcm")
    report = take(home, folder)
    assert report.added == 1
    assert report.quarantined == {"duplicate-conflict": 1}
    assert take(home, folder).quarantined == {"duplicate-conflict": 1}


def test_a_corrected_label_replaces_the_old_one(home: Home, folder: Path) -> None:
    save(xray(seed=1), folder / "a.dcm")
    table = write_table(folder.parent / "t.csv", [{"path": "a.dcm", "label": "normal"}])
    take(home, folder, table)
    write_table(table, [{"path": "a.dcm", "label": "pneumonia"}])
    assert take(home, folder, table).updated == 1
    assert [record["label"] for record in records(home)] == ["pneumonia"]
    assert take(home, folder).updated == 0
    assert [record["label"] for record in records(home)] == ["pneumonia"]


def test_one_image_with_two_labels_is_refused_the_second_and_stays_so(home: Home, folder: Path) -> None:
    save(xray(seed=1), folder / "a.dcm")
    (folder / "b.dcm").write_bytes((folder / "a.dcm").read_bytes())
    rows = [{"path": "a.dcm", "label": "normal"}, {"path": "b.dcm", "label": "pneumonia"}]
    table = write_table(folder.parent / "t.csv", rows)
    for _ in range(2):
        assert take(home, folder, table).quarantined == {"table-duplicate-key": 1}
        assert [record["label"] for record in records(home)] == ["normal"]


@pytest.mark.parametrize(
    ("elements", "risk"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in-annotation"),
        ({"Modality": "US"}, "risky-modality"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "secondary-capture"),
        ({"Modality": "MR", "BodyPartExamined": "BRAIN"}, "head-scan"),
        ({"OverlayRows": 12}, "overlay"),
    ],
)
def test_pixels_that_may_show_who_it_is_are_refused_unless_the_site_allows_it(
    home: Home, folder: Path, elements: dict[str, object], risk: str
) -> None:
    dataset = xray()
    for keyword, value in elements.items():
        if keyword == "OverlayRows":
            dataset.add_new(0x60000010, "US", value)
        else:
            setattr(dataset, keyword, value)
    save(dataset, folder / "a.dcm")
    assert take(home, folder).quarantined == {"pixel-risk": 1}
    with Catalogue(home.catalogue) as catalogue:
        assert catalogue.quarantine()[0].reasons == (risk,)
    assert list(home.raw.iterdir()) == []
    assert take(home, folder, risks=frozenset({risk})).added == 1
    with Catalogue(home.catalogue) as catalogue:
        assert catalogue.quarantine() == []


def test_an_absent_annotation_flag_is_believed_of_an_xray_and_not_of_a_secondary_capture() -> None:
    believed = xray()
    del believed.BurnedInAnnotation
    assert read_bytes(believed).risks == frozenset()
    captured = xray(SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    del captured.BurnedInAnnotation
    assert read_bytes(captured).risks == {"unknown-annotation", "risky-modality"}


def read_bytes(dataset: pydicom.Dataset, annotation: Annotation | None = None) -> SourceCase:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return read_dicom(stream.getvalue(), annotation)


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"}, "sop-class-refused"),
        ({"NumberOfFrames": 3}, "image-invalid"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "image-invalid"),
        ({"Rows": 60000, "Columns": 60000}, "image-invalid"),
        ({"PixelSpacing": [0, 0.3]}, "image-invalid"),
        ({"PatientID": ""}, "patient-missing"),
        ({"Rows": 13}, "file-undecodable"),
    ],
)
def test_what_is_not_one_sound_image_is_refused_with_its_reason(elements: dict[str, object], code: str) -> None:
    with pytest.raises(BadInput) as refusal:
        read_bytes(xray(**elements))
    assert refusal.value.code == code


def test_a_table_may_say_who_the_patient_is() -> None:
    assert read_bytes(xray(PatientID=""), Annotation(patient="X-12345")).patient == "X-12345"


def test_a_deflated_bomb_is_refused_before_it_inflates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("silo_node.intake.objects.header.LARGEST_IMAGE", 100)
    bomb = xray()
    bomb.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    with pytest.raises(BadInput) as refusal:
        read_bytes(bomb)
    assert refusal.value.code == "image-invalid"


def test_damaged_and_foreign_files_are_quarantined_and_the_intake_goes_on(home: Home, folder: Path) -> None:
    good = save(xray(seed=1), folder / "good.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(good[: len(good) // 2])
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty.dcm").write_bytes(b"")
    save(xray(seed=2, patient="B"), folder / "zzz.dcm")
    report = take(home, folder)
    assert report.added == 2
    assert report.quarantined == {"file-undecodable": 1, "not-dicom": 2}
    with Catalogue(home.catalogue) as catalogue:
        assert sorted(row.code for row in catalogue.quarantine()) == ["file-undecodable", "not-dicom", "not-dicom"]


def test_a_repaired_file_leaves_quarantine(home: Home, folder: Path) -> None:
    good = save(xray(seed=1), folder / "a.dcm").read_bytes()
    (folder / "a.dcm").write_bytes(good[:300])
    assert take(home, folder).quarantined.total() == 1
    (folder / "a.dcm").write_bytes(good)
    assert take(home, folder).added == 1
    with Catalogue(home.catalogue) as catalogue:
        assert catalogue.quarantine() == []


def test_every_sample_of_the_makers_is_taken_in_or_refused_with_a_code(home: Home) -> None:
    """127 real objects of six makers and a dozen transfer syntaxes; the outcome of each kind is known."""
    every_risk = frozenset({"burned-in-annotation", "head-scan", "overlay", "risky-modality", "secondary-capture"})
    samples = data_folder("dicom-samples")
    table = write_table(home.path.parent / "t.csv", [{"path": ".", "label": "a", "patient": "sample-patient"}])
    report = take(home, samples, table, risks=every_risk | {"unknown-annotation"})
    assert report.quarantined["identifier-leak"] == 0
    # Reports, plans, and segmentations of series that are not here.
    assert report.quarantined["sop-class-refused"] == 14
    # JPEG Lossless and JPEG Extended need a decoder that is not among the dependencies (GPL), and one is cut.
    assert report.quarantined["file-undecodable"] <= 11
    # The RLE, JPEG 2000 and big-endian copies of one pydicom sample share its UID but not its bytes.
    assert report.quarantined["duplicate-conflict"] >= 4
    # Mosaics, two time points, 4 of 24 slices, three images under one Series Instance UID, frames without groups.
    series = {code: count for code, count in report.quarantined.items() if code.startswith("series-")}
    assert series == {
        "series-mosaic": 2,
        "series-duplicate-position": 1,
        "series-spacing": 1,
        "series-mixed": 1,
        "series-no-position": 1,
    }
    received = report.received
    assert received.new + received.known + received.refused.total() == len(files_below(samples))
    shapes = {load_file(case / "image.safetensors")["image"].shape for case in home.raw.iterdir()}
    assert {(35, 51, 32), (512, 512, 3)} <= shapes, "series of slices are volumes"
    (labelled,) = home.raw.glob("*/label.safetensors")
    assert load_file(labelled)["label"].sum() > 1000, "the liver's segmentation lies over its CT series"


def test_a_real_slice_equals_what_pydicom_and_its_slope_give(home: Home, folder: Path) -> None:
    sample = data_folder("dicom-samples") / "pydicom/CT_small.dcm"
    dataset = pydicom.dcmread(sample)
    folder.mkdir()
    (folder / "x").write_bytes(sample.read_bytes())
    take(home, folder, risks=frozenset({"secondary-capture", "head-scan"}))
    (case,) = home.raw.iterdir()
    image = load_file(case / "image.safetensors")["image"]
    expected = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    assert image.dtype == np.int16
    assert np.array_equal(image, expected)
