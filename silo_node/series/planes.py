"""The slices of a DICOM object: where each lies, and its pixels in the modality's units.

A classic object is one slice with its position in the data set. An enhanced object holds many, each described by its
functional groups (PS3.3 C.7.6.16): what all frames share stands once, what differs stands with the frame.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import iter_pixels

from silo_node.intake.dicom_image import upright, without_embedded_overlays
from silo_node.series.geometry import Plane
from silo_node.wire.errors import BadInput

if TYPE_CHECKING:
    from silo_node.intake.source import Array

_GREY = ("MONOCHROME1", "MONOCHROME2")


def planes_of(dataset: Dataset) -> list[Plane]:
    """Return where each slice of an object lies.

    Raises :class:`BadInput`: ``series-mosaic``, ``series-no-position``, ``image-invalid`` for colour.
    """
    if "MOSAIC" in _words(dataset, "ImageType"):
        raise BadInput("series-mosaic")
    if dataset.get("PhotometricInterpretation") not in _GREY or int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise BadInput("image-invalid", "its colours are coded in a way that is not taken in")
    if not is_multiframe(dataset):
        return [_plane(dataset, [dataset])]
    return [_plane(dataset, groups) for groups in _frame_groups(dataset)]


def slice_values(dataset: Dataset) -> Iterator["Array"]:
    """Yield the slices of an object in its own order, each (rows, columns) in the modality's units.

    Units come from Rescale Slope and Intercept or the Modality LUT (PS3.3 C.11.1); MONOCHROME1 is inverted.
    """
    groups = _frame_groups(dataset) if is_multiframe(dataset) else [[dataset]]
    for stored, group in zip(iter_pixels(dataset), groups, strict=True):
        clean = upright(without_embedded_overlays(stored, dataset), dataset)
        yield _in_units(clean, dataset, group)


def is_multiframe(dataset: Dataset) -> bool:
    """Tell whether an object describes its frames by functional groups."""
    return "PerFrameFunctionalGroupsSequence" in dataset or int(dataset.get("NumberOfFrames", None) or 1) > 1


def _frame_groups(dataset: Dataset) -> list[list[Dataset]]:
    """Return for each frame its own groups, then the shared ones: the order in which an attribute is looked for."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if not frames or len(frames) != int(dataset.get("NumberOfFrames", None) or 1):
        raise BadInput("series-no-position", "its frames are not described one by one")
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    return [[frame, *shared] for frame in frames]


def _plane(dataset: Dataset, groups: Sequence[Dataset]) -> Plane:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    directions = _numbers(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    return Plane(
        position=_three(_numbers(groups, "PlanePositionSequence", "ImagePositionPatient", 3)),
        row=_three(directions[:3]),
        column=_three(directions[3:]),
        spacing=_two(_numbers(groups, "PixelMeasuresSequence", "PixelSpacing", 2)),
        shape=(rows, columns),
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or ""),
    )


def _find(groups: Sequence[Dataset], sequence: str, keyword: str) -> Any:
    for group in groups:
        items = group.get(sequence)
        place = items[0] if items else group
        if place.get(keyword) not in (None, ""):
            return place.get(keyword)
    return None


def _numbers(groups: Sequence[Dataset], sequence: str, keyword: str, count: int) -> list[float]:
    found = _find(groups, sequence, keyword)
    if found is None or isinstance(found, str | bytes) or len(found) != count:
        raise BadInput("series-no-position")
    return [float(part) for part in found]


def _in_units(stored: "Array", dataset: Dataset, groups: Sequence[Dataset]) -> "Array":
    if groups[0] is dataset:
        return np.asarray(apply_modality_lut(stored, dataset))
    slope = _find(groups, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _find(groups, "PixelValueTransformationSequence", "RescaleIntercept")
    if slope is None or intercept is None:
        return stored
    values: Array = stored * float(slope) + float(intercept)
    return values


def _words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    value = dataset.get(keyword) or ()
    return tuple(str(part).upper() for part in ([value] if isinstance(value, str) else value))


def _three(values: list[float]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]


def _two(values: list[float]) -> tuple[float, float]:
    return values[0], values[1]
