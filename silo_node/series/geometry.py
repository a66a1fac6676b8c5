"""Where slices lie, and whether together they are a volume. Rules over positions; no pixels, no files.

DICOM's patient coordinates grow to the left, the back and the head (LPS, PS3.3 C.7.6.2); NIfTI, MONAI and everything
else in this node use right, front and head (RAS). The turn from one to the other is made here and nowhere else.

Slices are ordered by their position along the normal. Instance Number is what the scanner counted, often from the other
end or across interleaved slices, so it is not looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silo_node.wire.errors import BadInput

SPACING_TOLERANCE = 0.01
"""How far a distance between two slices may be from the usual one, as a share of it; positions are rounded texts."""

DIRECTION_TOLERANCE = 1e-3
"""How far direction cosines may differ within a series, or be off a right angle: a twentieth of a degree."""

LENGTH_TOLERANCE = 1e-4
"""How far pixel spacings may differ within a series, as a share."""

Vector = NDArray[np.float64]
Affine = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Plane:
    """Where one slice lies: Image Plane module, in mm and LPS."""

    position: tuple[float, float, float]
    """Image Position (Patient): the centre of the first voxel sent."""

    row: tuple[float, float, float]
    """Direction in which the column index grows."""

    column: tuple[float, float, float]
    """Direction in which the row index grows."""

    spacing: tuple[float, float]
    """Pixel Spacing: distance between rows, then between columns."""

    shape: tuple[int, int]
    """Rows, columns."""

    frame_of_reference: str = ""

    @property
    def normal(self) -> Vector:
        return np.cross(self.row, self.column)


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels, indexed (column, row, slice)."""

    order: tuple[int, ...]
    """Which plane is slice 0, 1, ...: along the normal."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: Affine
    """4x4 voxel to RAS+ world matrix in mm."""


def arrange(planes: Sequence[Plane]) -> Grid:
    """Return the grid that slices form.

    Raises :class:`BadInput`: ``series-too-short``, ``series-mixed``, ``series-orientation``,
    ``series-frame-of-reference``, ``series-duplicate-position``, ``series-gap``, ``series-spacing``,
    ``series-tilted``.
    """
    if len(planes) < 2:
        raise BadInput("series-too-short")
    _require_alike(planes)
    normal = planes[0].normal / np.linalg.norm(planes[0].normal)
    heights = np.array([np.dot(plane.position, normal) for plane in planes])
    order = np.argsort(heights, kind="stable")
    step = _common_step(heights[order])
    _require_upright([planes[index] for index in order], normal)
    return _grid(planes, order, normal, step)


def _require_alike(planes: Sequence[Plane]) -> None:
    first = planes[0]
    for plane in planes:
        _require_directions(plane)
    if any(plane.shape != first.shape or not _near(plane.spacing, first.spacing) for plane in planes):
        raise BadInput("series-mixed", "its slices differ in size or pixel spacing")
    if any(not _same_direction(plane, first) for plane in planes):
        raise BadInput("series-orientation")
    if len({plane.frame_of_reference for plane in planes}) > 1:
        raise BadInput("series-frame-of-reference")


def _require_directions(plane: Plane) -> None:
    """Refuse direction cosines that are no two unit vectors at a right angle, and spacings that are no lengths."""
    values = np.array([*plane.row, *plane.column, *plane.position, *plane.spacing])
    lengths = [np.linalg.norm(plane.row), np.linalg.norm(plane.column)]
    sound = np.isfinite(values).all() and np.allclose(lengths, 1, rtol=0, atol=DIRECTION_TOLERANCE)
    if not sound or abs(np.dot(plane.row, plane.column)) > DIRECTION_TOLERANCE:
        raise BadInput("series-no-position", "its direction cosines are no right angle")
    if not all(0 < length < 1000 for length in plane.spacing):
        raise BadInput("series-no-position", "its pixel spacing is not two positive lengths")


def _near(spacing: tuple[float, float], other: tuple[float, float]) -> bool:
    return bool(np.allclose(spacing, other, rtol=LENGTH_TOLERANCE, atol=0))


def _same_direction(plane: Plane, other: Plane) -> bool:
    here, there = (np.array([*one.row, *one.column]) for one in (plane, other))
    return bool(np.allclose(here, there, rtol=0, atol=DIRECTION_TOLERANCE))


def _common_step(heights: Vector) -> float:
    """Return the distance between neighbours where all are the same, to the tolerance."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    if steps.min() <= max(SPACING_TOLERANCE * usual, 1e-6):
        raise BadInput("series-duplicate-position")
    if np.all(np.abs(steps - usual) <= SPACING_TOLERANCE * usual):
        return float((heights[-1] - heights[0]) / len(steps))
    multiples = steps / steps.min()
    if np.all(np.abs(multiples - np.rint(multiples)) <= SPACING_TOLERANCE * np.rint(multiples)):
        raise BadInput("series-gap")
    raise BadInput("series-spacing")


def _require_upright(planes: Sequence[Plane], normal: Vector) -> None:
    """Refuse slices that are stacked askew, as with a tilted CT gantry: their voxels are no boxes."""
    for lower, upper in pairwise(planes):
        step = np.subtract(upper.position, lower.position)
        height = float(np.dot(step, normal))
        if np.linalg.norm(step - height * normal) > max(SPACING_TOLERANCE * height, 5e-3):
            raise BadInput("series-tilted")


def _grid(planes: Sequence[Plane], order: NDArray[Any], normal: Vector, step: float) -> Grid:
    first = planes[int(order[0])]
    between_rows, between_columns = first.spacing
    lps = np.eye(4)
    lps[:3, 0] = np.multiply(first.row, between_columns)
    lps[:3, 1] = np.multiply(first.column, between_rows)
    lps[:3, 2] = normal * step
    lps[:3, 3] = first.position
    return Grid(
        order=tuple(int(index) for index in order),
        shape=(first.shape[1], first.shape[0], len(planes)),
        spacing_mm=(between_columns, between_rows, step),
        affine=ras_from_lps(lps),
    )


def ras_from_lps(affine: Vector) -> Affine:
    """Return a voxel to RAS matrix from a voxel to LPS matrix: the first two world axes point the other way."""
    turned = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return tuple(tuple(float(entry) + 0.0 for entry in row) for row in turned)
