"""A model's answer as DICOM: readable by others, laid where the series lies, and kept by a real storage peer."""

import json
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from silo_node.series.segmentation import segment_labels
from silo_node.series.volume import Volume, series_volume
from silo_node.state import Home
from tests.data import data_folder
from tests.silo.pacs.dcmtk import program
from tests.silo.stand_in import free_port
from tests.silo.test_cohort_cli import SiloNode

STRUCTURES = ("--structure", "anterior", "--structure", "posterior")


@pytest.fixture(scope="module")
def crop() -> Volume:
    return series_volume([dcmread(path) for path in sorted(crop_folder().glob("*.dcm"))])


def crop_folder() -> Path:
    return data_folder("dicom-samples") / "udacity-study1/13_HCropVolume"


@pytest.fixture
def node(tmp_path: Path) -> SiloNode:
    """A node that has taken in the real hippocampus crop."""
    node = SiloNode(tmp_path / "silo")
    node.home.mkdir()
    (node.home / "policy.toml").write_text('[intake]\nallow_pixel_risks = ["secondary-capture"]\n')
    assert node.json("intake", "folder", str(crop_folder()))["added"] == 1
    return node


def labels_of(crop: Volume) -> np.ndarray:
    labels = (crop.values > np.median(crop.values)).astype(np.uint8)
    labels[:, :, 20:] *= 2
    return labels


def write_labels(path: Path, crop: Volume) -> Path:
    """Write the label map as converters do, its rows turned over."""
    turn = np.diag([1.0, -1.0, 1.0, 1.0])
    turn[1, 3] = crop.values.shape[1] - 1
    nibabel.save(nibabel.Nifti1Image(labels_of(crop)[:, ::-1], np.array(crop.affine) @ turn), path)
    return path


def series_uid() -> str:
    return str(dcmread(crop_folder() / "1.dcm", stop_before_pixels=True).SeriesInstanceUID)


def answer(node: SiloNode, labels: Path, out: Path, *more: str) -> list[str]:
    arguments = ("answer", "segmentation", str(labels), "--series", series_uid(), *STRUCTURES, "--out", str(out), *more)
    found: list[str] = node.json(*arguments)["files"]
    return found


def test_the_segmentation_lies_over_the_real_series_it_answers(node: SiloNode, tmp_path: Path, crop: Volume) -> None:
    path, _ = answer(node, write_labels(tmp_path / "l.nii.gz", crop), tmp_path / "out", "--model", "Small U-Net")
    segmentation, source = dcmread(path), dcmread(crop_folder() / "1.dcm")
    assert np.array_equal(segment_labels(segmentation, crop.grid), labels_of(crop))
    assert (segmentation.PatientID, segmentation.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    assert segmentation.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert [item.SegmentLabel for item in segmentation.SegmentSequence] == ["anterior", "posterior"]
    assert segmentation.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "Small U-Net"
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    theirs = highdicom.seg.segread(path).get_volume(combine_segments=True)
    assert np.bincount(theirs.array.ravel()).tolist() == np.bincount(labels_of(crop).ravel()).tolist()


def test_the_report_gives_each_structures_volume(node: SiloNode, tmp_path: Path, crop: Volume) -> None:
    segmentation, path = answer(node, write_labels(tmp_path / "l.nii.gz", crop), tmp_path / "out")
    report = highdicom.sr.srread(path)
    groups = report.content.get_volumetric_roi_measurement_groups()
    volumes = [float(group.get_measurements()[0].value) for group in groups]
    assert volumes == [pytest.approx((labels_of(crop) == number).sum() / 1000, abs=1e-3) for number in (1, 2)]
    referenced = {group.referenced_segment.referenced_sop_instance_uid for group in groups}
    assert referenced == {dcmread(segmentation).SOPInstanceUID}


def test_dciodvfy_finds_no_fault_in_either(node: SiloNode, tmp_path: Path, crop: Volume) -> None:
    for path in answer(node, write_labels(tmp_path / "l.nii.gz", crop), tmp_path / "out"):
        done = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, errors="replace")
        assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []


@contextmanager
def storage_peer(port: int, out: Path) -> Iterator[None]:
    """Run DCMTK's ``storescp`` and return once it takes associations."""
    out.mkdir()
    called = [program("storescp"), "-aet", "PACS", "-od", str(out), str(port)]
    process = subprocess.Popen(called, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        echo = [program("echoscu"), "-aec", "PACS", "127.0.0.1", str(port)]
        end = time.monotonic() + 20
        while subprocess.run(echo, capture_output=True).returncode != 0:
            assert time.monotonic() < end, "storescp did not start"
        yield
    finally:
        process.kill()
        process.wait()


def test_both_are_sent_to_the_sites_pacs_on_request(node: SiloNode, tmp_path: Path, crop: Volume) -> None:
    port = free_port()
    (node.home / "silo.toml").write_text(f'[intake.pacs]\nhost = "127.0.0.1"\nport = {port}\nae_title = "PACS"\n')
    labels = write_labels(tmp_path / "l.nii.gz", crop)
    with storage_peer(port, tmp_path / "pacs"):
        written = answer(node, labels, tmp_path / "out", "--push")
    kept = [dcmread(path) for path in (tmp_path / "pacs").iterdir()]
    assert {dataset.SOPInstanceUID for dataset in kept} == {dcmread(path).SOPInstanceUID for path in written}
    sent = next(dataset for dataset in kept if dataset.Modality == "SEG")
    assert np.array_equal(segment_labels(sent, crop.grid), labels_of(crop))


def test_what_cannot_be_answered_is_told_with_a_code(node: SiloNode, tmp_path: Path, crop: Volume) -> None:
    labels = write_labels(tmp_path / "l.nii.gz", crop)
    call = ("answer", "segmentation", str(labels), "--out", str(tmp_path / "out"))
    assert node.code(*call, "--series", "1.2.3", *STRUCTURES) == "series-unknown"
    assert node.code(*call, "--series", series_uid(), "--structure", "one") == "label-unknown"
    assert node.code(*call, "--series", series_uid(), *STRUCTURES, "--push") == "config-missing"
    nibabel.save(nibabel.Nifti1Image(np.zeros((35, 51, 32), np.uint8), np.eye(4)), labels)
    assert node.code(*call, "--series", series_uid(), *STRUCTURES) == "segmentation-mismatch"
    assert not (tmp_path / "out").exists()


def test_nothing_of_an_answer_is_in_the_outbox_or_the_egress_log(node: SiloNode, tmp_path: Path, crop: Volume) -> None:
    answer(node, write_labels(tmp_path / "l.nii.gz", crop), tmp_path / "out")
    home = Home(node.home)
    assert list(home.outbox.iterdir()) == []
    assert json.loads(node("outbox", "list", "--json").stdout) == []
    assert not home.egress_log.exists()
