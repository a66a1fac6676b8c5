"""A DICOM series as one case: its volume, its label map, and what its headers may tell.

Whatever a slice's header says counts for the whole: a risk of one slice is a risk of the volume, and the identifiers of
all slices are searched for in what is written.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3
from pydicom import Dataset, dcmread

from silo_node.deidentify.attributes import normal_modality
from silo_node.deidentify.dicom_identifiers import dicom_identifiers
from silo_node.deidentify.identifiers import Identifiers
from silo_node.deidentify.pixel_risk import TOMOGRAPHIC, pixel_risks
from silo_node.intake.dicom_image import header_attributes, header_text, pixel_facts
from silo_node.intake.silence import silent_decoders
from silo_node.intake.source import Annotation, SourceCase
from silo_node.series.geometry import Grid
from silo_node.series.planes import is_multiframe
from silo_node.series.segmentation import lay_over, segment_labels
from silo_node.series.volume import series_volume
from silo_node.wire.errors import BadInput, MedSiloError

if TYPE_CHECKING:
    from silo_node.intake.source import Array


@dataclass(frozen=True)
class LabelSource:
    """Where a series' label map comes from: the bytes of a DICOM segmentation, or a NIfTI file."""

    segmentation: bytes | None = None
    nifti: Path | None = None


def series_case(
    objects: Sequence[bytes], annotation: Annotation | None, labels: LabelSource | None = None
) -> SourceCase:
    """Read the objects of one series into a case with a volume.

    Raises :class:`BadInput` with the codes of :func:`~silo_node.series.volume.series_volume` and
    :func:`~silo_node.series.segmentation.segment_labels`, ``sop-class-refused``, ``patient-missing``, and
    ``file-undecodable`` for whatever a decoder fails at.
    """
    try:
        with silent_decoders():
            return _case([dcmread(io.BytesIO(data)) for data in objects], objects, annotation or Annotation(), labels)
    except MedSiloError:
        raise
    except Exception:
        # A damaged file can make a decoder raise anything, and its message may quote the file.
        raise BadInput("file-undecodable") from None


def is_volume(data: bytes) -> bool:
    """Tell whether an object holds many slices by itself."""
    try:
        with silent_decoders():
            return is_multiframe(dcmread(io.BytesIO(data), stop_before_pixels=True))
    except Exception:
        # As above; what cannot be read is refused, with its reason, when it is decoded.
        return False


def segmented_series(segmentation: bytes) -> frozenset[str]:
    """Return the Series Instance UIDs a DICOM segmentation was drawn on; none for an object that does not say."""
    try:
        with silent_decoders():
            dataset = dcmread(io.BytesIO(segmentation), stop_before_pixels=True)
            return frozenset(
                header_text(item, "SeriesInstanceUID") for item in dataset.get("ReferencedSeriesSequence") or ()
            )
    except Exception:
        # As above; a segmentation that cannot be read belongs to no series.
        return frozenset()


def _case(
    datasets: Sequence[Dataset], objects: Sequence[bytes], annotation: Annotation, labels: LabelSource | None
) -> SourceCase:
    first = datasets[0]
    if any(header_text(dataset, "SOPClassUID") not in TOMOGRAPHIC for dataset in datasets):
        raise BadInput("sop-class-refused")
    patient = annotation.patient or header_text(first, "PatientID")
    if not patient:
        raise BadInput("patient-missing")
    volume = series_volume(datasets)
    label_map, more = _label_map(labels, volume.grid)
    return SourceCase(
        identity=_identity(datasets),
        content=_content(datasets, objects),
        patient=patient,
        image=volume.values,
        spacing_mm=volume.spacing_mm,
        label_map=label_map,
        label=annotation.label,
        split=annotation.split,
        affine=volume.affine,
        modality=normal_modality(header_text(first, "Modality")),
        attributes=header_attributes(first, annotation),
        risks=frozenset().union(*(pixel_risks(pixel_facts(dataset)) for dataset in datasets)),
        identifiers=reduce(Identifiers.__or__, map(dicom_identifiers, datasets), more),
    )


def _identity(datasets: Sequence[Dataset]) -> tuple[str, str]:
    """A series of single slices is known by its series, an enhanced object by itself: a series may hold several."""
    if len(datasets) == 1:
        return "dicom", header_text(datasets[0], "SOPInstanceUID")
    return "series", header_text(datasets[0], "SeriesInstanceUID")


def _content(datasets: Sequence[Dataset], objects: Sequence[bytes]) -> bytes:
    """Return a digest of all objects, in the order of their UIDs: not in the order they came in."""
    order = sorted(range(len(datasets)), key=lambda index: header_text(datasets[index], "SOPInstanceUID"))
    return blake3(b"".join(blake3(objects[index]).digest() for index in order)).digest()


def _label_map(labels: LabelSource | None, grid: Grid) -> tuple["Array | None", Identifiers]:
    if labels is None:
        return None, Identifiers()
    if labels.segmentation is not None:
        dataset = dcmread(io.BytesIO(labels.segmentation))
        return segment_labels(dataset, grid), dicom_identifiers(dataset)
    if labels.nifti is None:
        return None, Identifiers()
    from silo_node.intake.nifti import read_nifti

    found = read_nifti(labels.nifti, None)
    return lay_over(found.image, found.affine or (), grid), found.identifiers
