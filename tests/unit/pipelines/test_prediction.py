"""A label map on the prepared grid, brought back to the voxels a case came with."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from pipelines.prediction import on_voxels
from pipelines.preparation.transforms import build_transforms
from pipelines.question import TransformSpec

SHAPE = (11, 14, 9)


def blocks() -> Any:
    """Return a label map of blocks, so that the nearest voxel is the right one after any change of grid."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3:9, 2:7] = 1
    labels[6:9, 3:9, 2:7] = 2
    return labels


def prepared(labels: Any, affine: Any, *steps: TransformSpec) -> MetaTensor:
    tensor = MetaTensor(torch.from_numpy(labels[None].astype(np.float32)), affine=torch.as_tensor(affine))
    found: MetaTensor = build_transforms(steps, with_label=True)({"image": tensor, "label": tensor})["label"]
    return found


OBLIQUE = np.array([[-0.9, 0.1, 0.0, 12.0], [0.1, 0.9, -0.2, -7.0], [0.0, 0.3, 1.4, 3.0], [0, 0, 0, 1]])


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1.0, 2.0, 1.0]), OBLIQUE])
@pytest.mark.parametrize(
    "steps",
    [
        (),
        (TransformSpec(name="Orientationd", args={"axcodes": "RAS"}),),
        (
            TransformSpec(name="Orientationd", args={"axcodes": "RAS"}),
            TransformSpec(name="ResizeWithPadOrCropd", args={"spatial_size": [20, 12, 16]}),
        ),
    ],
)
def test_turning_padding_and_cropping_are_undone(affine: Any, steps: tuple[TransformSpec, ...]) -> None:
    answered = prepared(blocks(), affine, *steps)
    back = on_voxels(np.asarray(answered[0], dtype=np.uint8), np.asarray(answered.affine), affine, SHAPE)
    assert np.array_equal(back, blocks())


def test_a_finer_grid_is_undone() -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    finer = prepared(blocks(), affine, TransformSpec(name="Spacingd", args={"pixdim": [0.5, 0.5, 0.5]}))
    back = on_voxels(np.asarray(finer[0], dtype=np.uint8), np.asarray(finer.affine), affine, SHAPE)
    assert (back != blocks()).mean() < 0.02


def test_what_was_cut_off_is_background() -> None:
    cut = prepared(blocks(), np.eye(4), TransformSpec(name="CenterSpatialCropd", args={"roi_size": [5, 5, 5]}))
    back = on_voxels(np.asarray(cut[0], dtype=np.uint8), np.asarray(cut.affine), np.eye(4), SHAPE)
    assert 0 < (back > 0).sum() < (blocks() > 0).sum()
    assert np.all((back == blocks()) | (back == 0))
