"""A series on its way into the store: one case with its volume and its label map, known by its series."""

import json
from pathlib import Path
from typing import Any

import highdicom
import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from safetensors.numpy import load_file

from silo_node.deidentify.pixel_risk import RISKS
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.run import IntakeReport, IntakeRules, take_in_objects
from silo_node.state import Home
from tests.silo.series import series
from tests.silo.sources import save, write_table, xray

SHAPE = (6, 5, 4)


def volume(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 3000, SHAPE).astype(np.int16)


def label_map(seed: int = 0) -> Any:
    return np.random.default_rng(100 + seed).integers(0, 3, SHAPE).astype(np.uint8)


def write_series(folder: Path, values: Any, **elements: Any) -> list[Dataset]:
    slices = series(values, **elements)
    for index, dataset in enumerate(slices):
        save(dataset, folder / f"{index}.dcm")
    return slices


def segmentation(slices: list[Dataset], labels: Any) -> Dataset:
    """Return a DICOM segmentation of a series, as highdicom writes it, for labels 1 and 2."""
    algorithm = highdicom.AlgorithmIdentificationSequence("by hand", codes.DCM.ArtificialIntelligence, "1")
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Hippocampus,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, name in ((1, "anterior"), (2, "posterior"))
    ]
    return highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=np.stack([labels[:, :, index].T for index in range(labels.shape[2])]),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Elsewhere Workstation",
        manufacturer_model_name="W",
        software_versions="1",
        device_serial_number="SN-42",
    )


def take(home: Home, folder: Path, table: Path | None = None) -> IntakeReport:
    return take_in_objects(home, DicomFolder(folder, table), IntakeRules(allowed_risks=frozenset(RISKS)))


def only_case(home: Home) -> tuple[dict[str, Any], dict[str, Any]]:
    (folder,) = home.raw.iterdir()
    tensors = {path.stem: load_file(path)[path.stem] for path in folder.glob("*.safetensors")}
    return json.loads((folder / "case.json").read_bytes()), tensors


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


@pytest.fixture
def pacs(tmp_path: Path) -> Path:
    return tmp_path / "pacs"


def test_a_series_is_one_case_that_says_where_it_lies(home: Home, pacs: Path) -> None:
    write_series(pacs / "s1", volume(), BodyPartExamined="HIPPOCAMPUS", MagneticFieldStrength="2.98")
    report = take(home, pacs, write_table(pacs / "t.csv", [{"path": "s1", "label": "healthy"}]))
    assert (report.added, report.quarantined.total()) == (1, 0)
    record, tensors = only_case(home)
    assert np.array_equal(tensors["image"], volume())
    assert record["label"] == "healthy"
    assert np.allclose(record["spacing_mm"], (0.8, 1.2, 2.5), rtol=1e-3)
    assert np.allclose(np.array(record["affine"])[:3, 3], (106.943, 153.485, 76.2415), atol=1e-3)
    expected = {"age_band": "55-59", "body_part": "head", "field_strength": "3.0t", "maker": "siemens", "sex": "f"}
    assert record["attributes"] == expected


def test_the_segmentation_of_the_same_study_becomes_the_label_map(home: Home, pacs: Path) -> None:
    slices = write_series(pacs / "s1", volume())
    write_series(pacs / "other", volume(1), name="other")
    save(segmentation(slices, label_map()), pacs / "seg.dcm")
    assert take(home, pacs).added == 2
    labelled = [load_file(path)["label"] for path in home.raw.glob("*/label.safetensors")]
    assert len(labelled) == 1
    assert np.array_equal(labelled[0], label_map())


def test_two_segmentations_of_one_series_need_a_table_that_names_one(home: Home, pacs: Path) -> None:
    slices = write_series(pacs / "s1", volume())
    for seed in (0, 1):
        save(segmentation(slices, label_map(seed)), pacs / f"seg{seed}.dcm")
    assert take(home, pacs).quarantined == {"segmentation-ambiguous": 1}
    table = write_table(pacs / "t.csv", [{"path": "s1", "label_path": "seg1.dcm"}])
    assert take(home, pacs, table).added == 1
    assert np.array_equal(only_case(home)[1]["label"], label_map(1))


def test_a_nifti_label_map_beside_the_series_is_laid_over_it(home: Home, pacs: Path) -> None:
    write_series(pacs / "s1", volume())
    assert take(home, pacs).added == 1
    affine = np.array(only_case(home)[0]["affine"]) @ np.diag([1, -1, 1, 1])
    affine[:3, 3] += np.array(only_case(home)[0]["affine"])[:3, 1] * (SHAPE[1] - 1)
    nibabel.save(nibabel.Nifti1Image(label_map()[:, ::-1], affine), pacs / "truth.nii.gz")
    report = take(home, pacs, write_table(pacs / "t.csv", [{"path": "s1", "label_path": "truth.nii.gz"}]))
    assert (report.updated, report.quarantined.total()) == (1, 0)
    assert np.array_equal(only_case(home)[1]["label"], label_map())


def test_late_slices_make_the_case_larger_and_not_a_second_one(home: Home, pacs: Path) -> None:
    slices = series(volume())
    for index in (0, 1):
        save(slices[index], pacs / f"{index}.dcm")
    assert take(home, pacs).added == 1
    for index in (2, 3):
        save(slices[index], pacs / f"{index}.dcm")
    report = take(home, pacs)
    assert (report.added, report.updated) == (0, 1)
    assert only_case(home)[1]["image"].shape == SHAPE


def test_a_single_slice_is_an_image_until_the_others_come(home: Home, pacs: Path) -> None:
    slices = series(volume())
    save(slices[0], pacs / "0.dcm")
    assert take(home, pacs).added == 1
    assert only_case(home)[1]["image"].ndim == 2
    for index in (1, 2, 3):
        save(slices[index], pacs / f"{index}.dcm")
    take(home, pacs)
    assert only_case(home)[1]["image"].shape == SHAPE


def test_slices_a_table_labels_one_by_one_stay_images(home: Home, pacs: Path) -> None:
    write_series(pacs, volume())
    rows = [{"path": f"{index}.dcm", "label": index % 2} for index in range(4)]
    assert take(home, pacs, write_table(pacs / "t.csv", rows)).added == 4


def test_a_refused_series_is_listed_once_and_taken_when_the_missing_slice_comes(home: Home, pacs: Path) -> None:
    slices = series(np.zeros((4, 5, 8), np.int16))
    for index, dataset in enumerate(slices):
        if index != 3:
            save(dataset, pacs / f"{index}.dcm")
    assert take(home, pacs).quarantined == {"series-gap": 1}
    save(slices[3], pacs / "3.dcm")
    assert take(home, pacs).added == 1


def test_a_risk_of_one_slice_is_a_risk_of_the_volume(home: Home, pacs: Path) -> None:
    slices = series(volume())
    slices[2].BurnedInAnnotation = "YES"
    for index, dataset in enumerate(slices):
        save(dataset, pacs / f"{index}.dcm")
    report = take_in_objects(home, DicomFolder(pacs), IntakeRules())
    assert report.quarantined == {"pixel-risk": 1}


def test_projection_images_of_one_series_stay_single_images(home: Home, pacs: Path) -> None:
    for seed in range(3):
        save(xray(seed=seed), pacs / f"{seed}.dcm")
    assert take(home, pacs).added == 3


def test_bytes_that_differ_in_the_order_of_arrival_only_are_the_same_case(home: Home, pacs: Path) -> None:
    slices = series(volume())
    for index, dataset in enumerate(reversed(slices)):
        save(dataset, pacs / f"{index}.dcm")
    take(home, pacs)
    other = Home(home.path.with_name("other"))
    for index, dataset in enumerate(slices):
        save(dataset, pacs / f"{index}.dcm")
    take(other, pacs)
    assert np.array_equal(only_case(home)[1]["image"], only_case(other)[1]["image"])
    assert take(home, pacs).added == 0
