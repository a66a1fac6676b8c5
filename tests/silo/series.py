"""Made-up DICOM series for tests: a volume cut into slices the way a scanner would send them."""

from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

OBLIQUE = ((0.999679, 0.02533, 0.0), (-0.0244148, 0.963561, -0.26637))
"""Direction cosines of a real brain series, rounded as they were sent."""


def series(
    values: Any,
    *,
    spacing: tuple[float, float, float] = (0.8, 1.2, 2.5),
    directions: tuple[tuple[float, ...], tuple[float, ...]] = OBLIQUE,
    origin: tuple[float, float, float] = (-106.943, -153.485, 76.2415),
    patient: str = "MRN-0001",
    name: str = "series",
    **elements: Any,
) -> list[Dataset]:
    """Return one MR object a slice for ``values`` (columns, rows, slices); spacing of columns, rows and slices."""
    normal = np.cross(*directions)
    slices = []
    for index in range(values.shape[2]):
        position = np.add(origin, normal * spacing[2] * index)
        dataset = _object(np.ascontiguousarray(values[:, :, index].T), patient, name, index)
        dataset.ImagePositionPatient = [f"{part:.6g}" for part in position]
        dataset.ImageOrientationPatient = [f"{part:.6g}" for part in (*directions[0], *directions[1])]
        dataset.PixelSpacing = [spacing[1], spacing[0]]
        dataset.SliceThickness = spacing[2]
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        slices.append(dataset)
    return slices


def _object(pixels: Any, patient: str, name: str, index: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", patient, name, str(index)])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", patient])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", patient, name])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", patient])
    dataset.Modality, dataset.ImageType = "MR", ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.PatientID, dataset.PatientName = patient, "Musterfrau^Erika"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyDate = "19640812", "F", "20240105"
    dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "101500", "S1", "ACC-0001"
    dataset.ReferringPhysicianName, dataset.SeriesNumber = "", 3
    dataset.Manufacturer, dataset.InstanceNumber = "SIEMENS", 1000 - index
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    dataset.PixelData = pixels.astype(np.int16 if dataset.PixelRepresentation else np.uint16).tobytes()
    return dataset
