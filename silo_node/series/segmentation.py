"""A label map over a volume's voxels: from a DICOM segmentation, or from a NIfTI volume of the same grid.

Nothing is resampled. A label map drawn on other voxels than the image's is refused: moving it would move the truth that
models are judged by.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array

from silo_node.intake.arrays import label_values
from silo_node.series.geometry import Grid, Plane
from silo_node.series.planes import planes_of
from silo_node.wire.errors import BadInput

if TYPE_CHECKING:
    from silo_node.intake.source import Array

SEGMENTATION_STORAGE = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation Storage
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation Storage
    }
)
VOXEL_TOLERANCE = 0.05
"""How far, in voxels, a label map's corner may be from an image's voxel centre."""


def segment_labels(segmentation: Dataset, grid: Grid) -> "Array":
    """Return a DICOM segmentation as a uint8 label map of a grid; a voxel's value is its Segment Number.

    Voxels no frame speaks of are background. Raises :class:`BadInput`: ``sop-class-refused`` for another object,
    ``segmentation-mismatch`` for one that lies elsewhere, ``segmentation-overlap`` where two segments claim a voxel,
    ``image-invalid`` for a fractional one.
    """
    if str(segmentation.get("SOPClassUID")) not in SEGMENTATION_STORAGE:
        raise BadInput("sop-class-refused")
    kind = str(segmentation.get("SegmentationType"))
    if kind not in ("BINARY", "LABELMAP"):
        raise BadInput("image-invalid", "the segmentation is fractional")
    labels = np.zeros(grid.shape, np.uint8)
    for place, number, frame in _frames(segmentation, grid, kind):
        values = np.where(frame.T > 0, number or frame.T, 0)
        if np.any((labels[:, :, place] > 0) & (values > 0) & (labels[:, :, place] != values)):
            raise BadInput("segmentation-overlap")
        labels[:, :, place] = np.where(values > 0, label_values(values, values.shape), labels[:, :, place])
    return labels


def lay_over(values: "Array", affine: Sequence[Sequence[float]], grid: Grid) -> "Array":
    """Return a label map (x, y, z) in the order of a grid's voxels, its axes swapped and turned where needed.

    Converters to NIfTI turn the rows of DICOM slices over, so that the same voxels come in another order. Raises
    :class:`BadInput` ``segmentation-mismatch`` where the voxels are not the same.
    """
    to_grid = np.linalg.inv(np.array(grid.affine)) @ np.array(affine, dtype=np.float64)
    turned = np.rint(to_grid[:3, :3])
    permutes = np.abs(turned).sum(axis=0).tolist() == [1, 1, 1] == np.abs(turned).sum(axis=1).tolist()
    if not permutes or values.ndim != 3:
        raise BadInput("segmentation-mismatch")
    source = [int(np.argmax(np.abs(turned[axis]))) for axis in range(3)]
    signs = [turned[axis, source[axis]] for axis in range(3)]
    ordered = np.transpose(values, source)
    ordered = ordered[tuple(slice(None, None, int(sign)) for sign in signs)]
    last = np.array(values.shape) - 1.0
    corners = np.array([[0.0, 0.0, 0.0], last]) @ to_grid[:3, :3].T + to_grid[:3, 3]
    expected = np.array([[0 if sign > 0 else extent - 1 for sign, extent in zip(signs, grid.shape, strict=True)]])
    opposite = np.array(grid.shape) - 1 - expected
    if ordered.shape != grid.shape or not np.allclose(corners, [*expected, *opposite], rtol=0, atol=VOXEL_TOLERANCE):
        raise BadInput("segmentation-mismatch")
    return label_values(np.ascontiguousarray(ordered), grid.shape)


def _frames(segmentation: Dataset, grid: Grid, kind: str) -> Iterator[tuple[int, int | None, "Array"]]:
    """Yield each frame's slice index in the grid, its segment's number (None in a label map) and its pixels."""
    shared = segmentation.get("SharedFunctionalGroupsSequence") or []
    groups: Any = segmentation.get("PerFrameFunctionalGroupsSequence") or []
    planes = planes_of(segmentation)
    # All at once: pydicom cannot unpack single frames of bits whose number is no multiple of eight.
    pixels = pixel_array(segmentation).reshape(len(planes), *planes[0].shape)
    for plane, group, frame in zip(planes, groups, pixels, strict=True):
        yield _place(plane, grid), None if kind == "LABELMAP" else _segment([group, *shared]), frame


def _place(plane: Plane, grid: Grid) -> int:
    """Return which slice of the grid a frame lies on."""
    affine = np.array(grid.affine)
    turn = np.array([-1.0, -1.0, 1.0])
    index = np.linalg.solve(affine[:3, :3], turn * plane.position - affine[:3, 3])
    between_rows, between_columns = plane.spacing
    sides = [turn * np.multiply(plane.row, between_columns), turn * np.multiply(plane.column, between_rows)]
    whole = int(np.rint(index[2]))
    same_place = np.allclose(index, [0, 0, whole], rtol=0, atol=VOXEL_TOLERANCE) and 0 <= whole < grid.shape[2]
    far = np.array([side * (extent - 1) for side, extent in zip(sides, grid.shape, strict=False)])
    expected = np.array([affine[:3, axis] * (grid.shape[axis] - 1) for axis in range(2)])
    same_sides = np.allclose(far, expected, rtol=0, atol=VOXEL_TOLERANCE * min(grid.spacing_mm))
    if not same_place or not same_sides or plane.shape != (grid.shape[1], grid.shape[0]):
        raise BadInput("segmentation-mismatch")
    return whole


def _segment(groups: Sequence[Dataset]) -> int:
    for group in groups:
        if group.get("SegmentIdentificationSequence"):
            number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            if 1 <= number <= 255:
                return number
    raise BadInput("image-invalid", "a frame does not say which segment it belongs to")
