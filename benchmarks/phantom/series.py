"""Writing a volume as a DICOM study: a series of MR slices, and a segmentation drawn on it, of a made-up patient.

Names, numbers, dates and free text stand where a scanner and a workstation put them, so that de-identification has
something to do in every object.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from benchmarks.phantom.dicom import hash_number
from benchmarks.phantom.patients import Patient

_LARGEST = 2**16 - 1
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Scanner:
    """Which device a series comes from."""

    maker: str
    model: str
    institution: str
    tesla: float


def write_study(
    folder: Path, values: Any, labels: Any, affine: Any, patient: Patient, scanner: Scanner, names: tuple[str, ...]
) -> None:
    """Write ``series/<n>.dcm`` and ``segmentation.dcm`` for a volume (x, y, z) and its label map.

    ``affine`` is voxel to RAS in mm; ``names`` are the labels' names from 1 on. The same arguments give the same pixels
    and places; the segmentation's own UIDs differ.
    """
    slices = series(values, affine, patient, scanner)
    (folder / "series").mkdir(parents=True, exist_ok=True)
    for index, dataset in enumerate(slices):
        dataset.save_as(folder / "series" / f"{index:03d}.dcm", enforce_file_format=True)
    segmentation(slices, labels, names).save_as(folder / "segmentation.dcm")


def series(values: Any, affine: Any, patient: Patient, scanner: Scanner) -> list[Dataset]:
    """Return one MR Image Storage object a slice, in the order of the volume's third axis."""
    lps = _LPS @ np.asarray(affine, dtype=np.float64)
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    slope = max(float(values.max()) / _LARGEST, 1e-6) if values.max() > _LARGEST or _has_fractions(values) else 1.0
    slope = float(f"{slope:.8g}")
    stored = np.clip(np.rint(values / slope), 0, _LARGEST).astype("<u2")
    slices = []
    for index in range(values.shape[2]):
        dataset = _object(patient, scanner, index)
        dataset.ImagePositionPatient = [f"{part:.9g}" for part in (lps @ [0, 0, index, 1])[:3]]
        directions = (lps[:3, :2] / steps[:2]).T.ravel()
        dataset.ImageOrientationPatient = [f"{part + 0.0:.9g}" for part in directions]
        dataset.PixelSpacing = [f"{steps[1]:.9g}", f"{steps[0]:.9g}"]
        dataset.SliceThickness = dataset.SpacingBetweenSlices = f"{steps[2]:.9g}"
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = f"{slope:.8g}", "0", "US"
        dataset.Columns, dataset.Rows = values.shape[:2]
        dataset.PixelData = np.ascontiguousarray(stored[:, :, index].T).tobytes()
        slices.append(dataset)
    return slices


def segmentation(slices: list[Dataset], labels: Any, names: tuple[str, ...]) -> Any:
    """Return a DICOM segmentation of a series, one segment a label."""
    import highdicom
    from pydicom.sr.codedict import codes

    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Hippocampus,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(names, 1)
    ]
    key = str(slices[0].SeriesInstanceUID)
    return highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=np.stack([labels[:, :, index].T for index in range(labels.shape[2])]).astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=_uid("segmentation-series", key),
        series_number=2,
        sop_instance_uid=_uid("segmentation", key),
        instance_number=1,
        manufacturer="Made-up Workstation",
        manufacturer_model_name="Drawing 1",
        software_versions="1",
        device_serial_number="SN-000042",
        content_creator_name="Reader^Imagined",
    )


def _object(patient: Patient, scanner: Scanner, index: int) -> Dataset:
    dataset, key = Dataset(), patient.identifier
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = _uid("instance", f"{key}/{index}")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid("study", key), _uid("series", key)
    dataset.FrameOfReferenceUID = _uid("frame", key)
    dataset.PatientName, dataset.PatientID = f"{patient.family}^{patient.given}", patient.identifier
    dataset.PatientBirthDate, dataset.PatientSex = patient.birth.strftime("%Y%m%d"), patient.sex
    dataset.PatientComments = f"Made-up patient {patient.given} {patient.family}"
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = patient.study.strftime("%Y%m%d")
    dataset.StudyTime = dataset.ContentTime = "101500"
    dataset.AccessionNumber, dataset.StudyID = f"ACC{hash_number(key) % 10**8:08d}", "1"
    dataset.ReferringPhysicianName = "Referrer^Imagined"
    dataset.Modality, dataset.BodyPartExamined = "MR", "HIPPOCAMPUS"
    dataset.SeriesDescription = f"Hippocampus of {patient.family}"
    dataset.Manufacturer, dataset.ManufacturerModelName = scanner.maker, scanner.model
    dataset.InstitutionName, dataset.MagneticFieldStrength = scanner.institution, scanner.tesla
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", ""
    dataset.MRAcquisitionType, dataset.EchoTime, dataset.EchoTrainLength = "3D", "", ""
    dataset.ImageType, dataset.SeriesNumber = ["DERIVED", "PRIMARY", "OTHER"], 1
    # As interleaved scanners count: not in the order of the slices.
    dataset.InstanceNumber = 1 + (index * 7) % 101
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    return dataset


def _has_fractions(values: Any) -> bool:
    return bool(np.any(values != np.rint(values)))


def _uid(kind: str, key: str) -> UID:
    return UID(f"2.25.{hash_number(f'{kind}/{key}')}")
