"""Dice, NSD and HD95 against brute force and against MONAI."""

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_dice import compute_surface_dice
from scipy import ndimage

from pipelines.tasks.overlap import dice, score_masks, surface_scores, worst


def blob(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """A random smooth mask that touches the image's edge now and then."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return noise > np.quantile(noise, 0.7)


def brute_force(
    predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...], tolerance: float
) -> tuple[float, float]:
    """Surfaces and all pairwise distances, by the definitions and nothing clever."""

    def surface(mask: np.ndarray) -> np.ndarray:
        found = []
        for point in np.argwhere(mask):
            steps = [step * sign for step in np.eye(mask.ndim, dtype=int) for sign in (-1, 1)]
            neighbours = [tuple(point + step) for step in steps]
            inside = [all(0 <= p < s for p, s in zip(n, mask.shape, strict=True)) and mask[n] for n in neighbours]
            if not all(inside):
                found.append(point * np.array(spacing))
        return np.array(found)

    one, other = surface(predicted), surface(reference)
    distances = np.sqrt(((one[:, None] - other[None]) ** 2).sum(-1))
    forth, back = distances.min(1), distances.min(0)
    near = (forth <= tolerance).sum() + (back <= tolerance).sum()
    return near / (len(one) + len(other)), max(np.percentile(forth, 95), np.percentile(back, 95))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("shape", "spacing"), [((9, 10, 8), (1.0, 1.0, 1.0)), ((8, 7, 9), (0.7, 1.0, 2.5)), ((14, 12), (0.5, 1.5))]
)
def test_surface_scores_are_those_of_brute_force(seed: int, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    """In two and three dimensions, with voxels that are no cubes."""
    predicted, reference = blob(seed, shape), blob(seed + 100, shape)
    found = surface_scores(predicted, reference, spacing, tolerance_mm=1.0, cap_mm=1000)
    assert found == pytest.approx(brute_force(predicted, reference, spacing, 1.0))


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_monai(seed: int) -> None:
    """On a grid of 1 x 1 x 2 mm."""
    predicted, reference, spacing = blob(seed, (12, 10, 8)), blob(seed + 50, (12, 10, 8)), (1.0, 1.0, 2.0)
    found = score_masks(predicted, reference, spacing, tolerance_mm=1.0, cap_mm=1000)
    one, other = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (predicted, reference))
    surface = compute_surface_dice(one, other, class_thresholds=[1.0], include_background=True, spacing=spacing)
    distance = compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=spacing)
    assert found.dice == pytest.approx(float(compute_dice(one, other)))
    assert found.nsd == pytest.approx(float(surface))
    assert found.hd95 == pytest.approx(float(distance), rel=1e-5)


def test_a_perfect_prediction_is_perfect() -> None:
    """1, 1 and no distance."""
    mask = blob(1, (8, 8, 8))
    found = score_masks(mask, mask, (1.0, 1.0, 1.0), tolerance_mm=1.0, cap_mm=50)
    assert (found.dice, found.nsd, found.hd95) == (1, 1, 0)
    assert found.volume_ml == found.reference_ml == pytest.approx(mask.sum() / 1000)


def test_the_cap_bounds_the_distance() -> None:
    """Two voxels at the ends of a long volume."""
    one, other = np.zeros((2, 40, 4, 4), bool)
    one[0, 0, 0] = other[39, 0, 0] = True
    assert surface_scores(one, other, (1.0, 1.0, 1.0), tolerance_mm=1.0, cap_mm=20) == (0, 20)
    assert surface_scores(one, other, (1.0, 1.0, 1.0), tolerance_mm=1.0, cap_mm=50) == (0, 39)


def test_empty_masks_follow_the_declared_rule() -> None:
    """Both empty is perfect, one empty is the worst; the empty reference is told."""
    nothing, something = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    both = score_masks(nothing, nothing, (1.0, 1.0, 1.0), tolerance_mm=1.0, cap_mm=30)
    assert (both.dice, both.nsd, both.hd95, both.empty_reference) == (1, 1, 0, True)
    for predicted, reference in ((nothing, something), (something, nothing)):
        found = score_masks(predicted, reference, (1.0, 1.0, 1.0), tolerance_mm=1.0, cap_mm=30)
        assert (found.dice, found.nsd, found.hd95) == (0, 0, 30)
        assert found.empty_reference == (reference is nothing)


def test_a_failed_case_is_as_bad_as_can_be() -> None:
    """And keeps what is known of its reference."""
    mask = np.ones((10, 10, 10), bool)
    found = worst(mask, (1.0, 1.0, 2.0), cap_mm=30)
    assert (found.dice, found.nsd, found.hd95, found.volume_ml) == (0, 0, 30, 0)
    assert found.reference_ml == pytest.approx(2.0)


def test_dice_is_symmetric() -> None:
    """Whichever of the two is called the reference."""
    one, other = blob(1, (9, 9)), blob(2, (9, 9))
    assert dice(one, other) == dice(other, one)
