"""Writing a phantom as a Digital X-Ray Image Storage object with everything in its header that must never leave.

Names, birth dates, numbers, an address, free text, a private block: de-identification has something to do. The pixel
module differs by device, as it does in hospitals: MONOCHROME1 here, a Rescale Slope there.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from benchmarks.phantom.chest import Image
from benchmarks.phantom.patients import Patient

DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"


@dataclass(frozen=True)
class Device:
    """How a hospital's device codes and labels its images; ``bits`` stored, values scaled by ``slope``."""

    maker: str
    model: str
    institution: str
    photometric: str = "MONOCHROME2"
    bits: int = 12
    slope: float = 1.0
    intercept: float = 0.0
    gain: float = 2400.0
    offset: float = 300.0
    spacing_mm: float = 5.5


def write_dicom(path: Path, image: Image, patient: Patient, device: Device, *, number: int) -> None:
    """Write one image; the same arguments give the same bytes."""
    dataset = Dataset()
    key = f"{patient.identifier}/{number}"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID(DX_FOR_PRESENTATION)
    dataset.file_meta.MediaStorageSOPInstanceUID = _uid("instance", key)
    _describe_patient(dataset, patient)
    _describe_study(dataset, patient, device, key, number)
    _describe_pixels(dataset, image, device)
    _add_private_block(dataset, patient)
    dataset.save_as(path, enforce_file_format=True)


def stored_values(image: Image, device: Device) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return what the device stores of an image of relative absorption: gain, offset, coding and rounding."""
    values = image * device.gain + device.offset
    stored = np.clip(np.round((values - device.intercept) / device.slope), 0, 2**device.bits - 1)
    if device.photometric == "MONOCHROME1":
        stored = 2**device.bits - 1 - stored
    return stored.astype(np.uint16)


def _describe_patient(dataset: Dataset, patient: Patient) -> None:
    dataset.PatientName = f"{patient.family}^{patient.given}"
    dataset.PatientID = patient.identifier
    dataset.PatientBirthDate = patient.birth.strftime("%Y%m%d")
    dataset.PatientSex = patient.sex
    dataset.PatientAge = f"{patient.age_years:03d}Y"
    dataset.PatientAddress = f"{patient.age_years} {patient.family} Lane"
    dataset.OtherPatientIDsSequence = [_other_id(patient)]
    dataset.PatientComments = f"Synthetic patient {patient.given} {patient.family}"


def _other_id(patient: Patient) -> Dataset:
    item = Dataset()
    item.PatientID = f"INS-{patient.identifier}"
    item.IssuerOfPatientID = "Made-up Insurance"
    return item


def _describe_study(dataset: Dataset, patient: Patient, device: Device, key: str, number: int) -> None:
    dataset.SOPClassUID = DX_FOR_PRESENTATION
    dataset.SOPInstanceUID = _uid("instance", key)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid("study", key), _uid("series", key)
    dataset.FrameOfReferenceUID = _uid("frame", key)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = patient.study.strftime(
        "%Y%m%d"
    )
    dataset.StudyTime = dataset.ContentTime = "101500"
    dataset.AccessionNumber = f"ACC{hash_number(key) % 10**8:08d}"
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", 1, number
    dataset.Modality, dataset.PresentationIntentType = "DX", "FOR PRESENTATION"
    dataset.Manufacturer, dataset.ManufacturerModelName = device.maker, device.model
    dataset.InstitutionName = device.institution
    dataset.ReferringPhysicianName = "Referrer^Imagined"
    dataset.StudyDescription = f"Chest PA of {patient.family}"
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.BurnedInAnnotation = "NO"
    dataset.ImageComments = f"compare with earlier image of {patient.given} {patient.family}"


def _describe_pixels(dataset: Dataset, image: Image, device: Device) -> None:
    stored = stored_values(image, device)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, device.photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, device.bits, device.bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1 if device.photometric == "MONOCHROME1" else 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = device.slope, device.intercept, "US"
    spacing = round(device.spacing_mm * 64 / stored.shape[0], 4)
    dataset.ImagerPixelSpacing = dataset.PixelSpacing = [spacing, spacing]
    dataset.PixelData = stored.astype("<u2").tobytes()


def _add_private_block(dataset: Dataset, patient: Patient) -> None:
    block = dataset.private_block(0x0019, "PHANTOM INTERNAL 1.0", create=True)
    block.add_new(0x01, "LO", f"{patient.given} {patient.family}")
    block.add_new(0x02, "UN", patient.identifier.encode().ljust(16))


def hash_number(text: str) -> int:
    """Return a number that is the same in every process, unlike ``hash``."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def _uid(kind: str, key: str) -> UID:
    return UID(f"2.25.{hash_number(f'{kind}/{key}')}")
