"""Dice, normalised surface Dice and HD95 of one structure in one case, from two masks and a voxel size.

The kit computes every published number itself. Definitions follow Metrics Reloaded (Maier-Hein, Reinke et al. 2024,
s41592-023-02151-z) with surfaces as voxels: a surface voxel is in the mask and has a face neighbour outside it, outside
the image counting as outside the mask. Where MONAI defines the same thing the values are the same.

Empty masks, by the rule every benchmark declares: both empty is perfect (1, 1, 0 mm); one empty is the worst score
(0, 0, the cap).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Distances = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Overlap:
    """The scores of one structure: Dice and NSD in 0..1, HD95 in millimetres, volumes in millilitres."""

    dice: float
    nsd: float
    hd95: float
    volume_ml: float
    reference_ml: float
    empty_reference: bool


def score_masks(
    predicted: Mask, reference: Mask, spacing_mm: tuple[float, ...], *, tolerance_mm: float, cap_mm: float
) -> Overlap:
    """Score a predicted mask against the reference on the same grid."""
    millilitres = float(np.prod(spacing_mm)) * (1.0 if len(spacing_mm) == 3 else 0.0) / 1000
    volume, size = int(predicted.sum()), int(reference.sum())
    nsd, hd95 = surface_scores(predicted, reference, spacing_mm, tolerance_mm=tolerance_mm, cap_mm=cap_mm)
    return Overlap(
        dice=dice(predicted, reference),
        nsd=nsd,
        hd95=hd95,
        volume_ml=volume * millilitres,
        reference_ml=size * millilitres,
        empty_reference=size == 0,
    )


def worst(reference: Mask, spacing_mm: tuple[float, ...], *, cap_mm: float) -> Overlap:
    """Return what a case scores for which a model gave no prediction: the worst value of each metric."""
    millilitres = float(np.prod(spacing_mm)) * (1.0 if len(spacing_mm) == 3 else 0.0) / 1000
    size = int(reference.sum())
    return Overlap(0.0, 0.0, cap_mm, 0.0, size * millilitres, size == 0)


def dice(predicted: Mask, reference: Mask) -> float:
    """Return twice the intersection over the sum of sizes; 1 where both are empty."""
    total = int(predicted.sum()) + int(reference.sum())
    return 1.0 if total == 0 else 2.0 * int((predicted & reference).sum()) / total


def surface_scores(
    predicted: Mask, reference: Mask, spacing_mm: tuple[float, ...], *, tolerance_mm: float, cap_mm: float
) -> tuple[float, float]:
    """Return NSD at a tolerance and HD95, the latter at most ``cap_mm``.

    NSD is the share of all surface voxels, of both masks, within the tolerance of the other surface (Nikolov et al.
    2018). HD95 is the larger of the two directed 95th percentiles.
    """
    if not predicted.any() or not reference.any():
        return (1.0, 0.0) if predicted.any() == reference.any() else (0.0, cap_mm)
    forth, back = _surface_distances(predicted, reference, spacing_mm)
    near = int((forth <= tolerance_mm).sum()) + int((back <= tolerance_mm).sum())
    percentile = max(float(np.percentile(forth, 95)), float(np.percentile(back, 95)))
    return near / (forth.size + back.size), min(percentile, cap_mm)


def _surface_distances(predicted: Mask, reference: Mask, spacing_mm: tuple[float, ...]) -> tuple[Distances, Distances]:
    """Distances in mm from each mask's surface voxels to the other surface, inside the box that holds both masks."""
    box = ndimage.find_objects((predicted | reference).astype(np.int8))[0]
    surfaces = [_surface(predicted[box]), _surface(reference[box])]
    fields = [ndimage.distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    return fields[1][surfaces[0]], fields[0][surfaces[1]]


def _surface(mask: Mask) -> Mask:
    inner: Mask = ndimage.binary_erosion(mask)
    return mask & ~inner
