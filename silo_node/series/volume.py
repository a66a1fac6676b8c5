"""One volume from the objects of a series: values in the modality's units, and the matrix that places them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset

from silo_node.intake.arrays import LARGEST_IMAGE, storable
from silo_node.series.geometry import Affine, Grid, arrange
from silo_node.series.planes import planes_of, slice_values
from silo_node.wire.errors import BadInput

if TYPE_CHECKING:
    from silo_node.intake.source import Array

_SAME = ("SeriesInstanceUID", "SOPClassUID", "Modality", "PhotometricInterpretation", "PatientID")


@dataclass(frozen=True)
class Volume:
    """A series as one array, indexed (column, row, slice): x, y and z of the affine."""

    values: "Array"
    """uint8, int16 or float32, the smallest that holds the values."""

    grid: Grid

    @property
    def affine(self) -> Affine:
        """4x4 voxel to RAS+ world matrix in mm."""
        return self.grid.affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        return self.grid.spacing_mm


def series_volume(datasets: Sequence[Dataset]) -> Volume:
    """Return the volume of a series: many classic objects, or one enhanced object.

    The positions are judged before a pixel is decoded. Raises :class:`BadInput` with the codes of
    :func:`~silo_node.series.geometry.arrange` and :func:`~silo_node.series.planes.planes_of`, ``image-invalid`` for
    values no image has; whatever a decoder raises is passed on.
    """
    _require_one_series(datasets)
    grid = arrange([plane for dataset in datasets for plane in planes_of(dataset)])
    if int(np.prod(grid.shape, dtype=np.float64)) * 4 > LARGEST_IMAGE:
        raise BadInput("image-invalid", "it is too large")
    slices = [storable(values) for dataset in datasets for values in slice_values(dataset)]
    stacked = np.stack([slices[index].T for index in grid.order], axis=-1)
    return Volume(storable(stacked), grid)


def _require_one_series(datasets: Sequence[Dataset]) -> None:
    if not datasets:
        raise BadInput("series-too-short")
    for keyword in _SAME:
        if len({str(dataset.get(keyword) or "") for dataset in datasets}) > 1:
            raise BadInput("series-mixed", f"its objects differ in {keyword}")
