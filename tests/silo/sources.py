"""Made-up sources for the intake's tests: DICOM files, NIfTI volumes, NPZ archives and their tables."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

DIGITAL_XRAY = "1.2.840.10008.5.1.4.1.1.1.1"


def xray(*, rows: int = 12, columns: int = 10, patient: str = "MRN-0001", seed: int = 0, **elements: Any) -> Dataset:
    """Return a digital X-ray as a hospital's device would write it, with a made-up patient in its header."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = DIGITAL_XRAY
    dataset.SOPClassUID = DIGITAL_XRAY
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", patient, str(seed)])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", patient])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", patient])
    dataset.Modality = "DX"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.BurnedInAnnotation = "NO"
    dataset.Manufacturer = "SIEMENS"
    dataset.PatientID = patient
    dataset.PatientName = "Musterfrau^Erika"
    dataset.PatientBirthDate = "19640812"
    dataset.PatientSex = "F"
    dataset.StudyDate = "20240105"
    dataset.ViewPosition = "PA"
    dataset.PixelSpacing = [0.2, 0.3]
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    pixels = np.random.default_rng(seed).integers(0, 4096, (rows, columns), dtype=np.uint16)
    dataset.PixelData = pixels.tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write a DICOM file, its folder made where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_table(path: Path, rows: Sequence[Mapping[str, object]], columns: Iterable[str] = ()) -> Path:
    """Write a CSV table; its columns are those of the first row, or the given ones."""
    names = list(columns) or list(rows[0])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def npz_site(folder: Path, cases: int, *, patients: int | None = None, shape: tuple[int, ...] = (8, 8)) -> Path:
    """Write an archive of images and its table, labels alternating; return the table."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(7).integers(0, 256, (cases, *shape), dtype=np.uint8)
    np.savez(folder / "site.npz", images=images)
    rows = [
        {"path": f"site.npz#{index}", "label": index % 2, "patient": f"P{index % (patients or cases):06d}"}
        for index in range(cases)
    ]
    return write_table(folder / "table.csv", rows)


def nifti(path: Path, values: Any, affine: Any = None) -> Path:
    """Write one NIfTI volume."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def nifti_site(folder: Path, cases: int) -> Path:
    """Write volumes with label maps and their table; return the table."""
    generator = np.random.default_rng(3)
    rows = []
    for index in range(cases):
        nifti(folder / f"images/v{index:03d}.nii.gz", generator.normal(100, 20, (6, 7, 8)).astype(np.float32))
        nifti(folder / f"labels/v{index:03d}.nii.gz", generator.integers(0, 3, (6, 7, 8)).astype(np.uint8))
        rows.append(
            {
                "path": f"images/v{index:03d}.nii.gz",
                "label_path": f"labels/v{index:03d}.nii.gz",
                "patient": f"hippo-{index:04d}",
            }
        )
    return write_table(folder / "table.csv", rows)
