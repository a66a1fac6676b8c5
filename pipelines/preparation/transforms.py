"""From checked transform arguments to callables: MONAI's dictionary transforms out of an exact dictionary."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.croppad import dictionary as croppad
from monai.transforms.intensity import dictionary as intensity
from monai.transforms.spatial import dictionary as spatial

from pipelines.bundles.transforms import TransformArguments, transform_arguments
from pipelines.cohort import FloatArray
from pipelines.question import TransformSpec

Data = dict[str, Any]
_CLASSES: dict[str, Callable[..., Any]] = {
    "Orientationd": spatial.Orientationd,
    "Spacingd": spatial.Spacingd,
    "Resized": spatial.Resized,
    "Flipd": spatial.Flipd,
    "Rotate90d": spatial.Rotate90d,
    "ResizeWithPadOrCropd": croppad.ResizeWithPadOrCropd,
    "SpatialPadd": croppad.SpatialPadd,
    "CenterSpatialCropd": croppad.CenterSpatialCropd,
    "DivisiblePadd": croppad.DivisiblePadd,
    "BorderPadd": croppad.BorderPadd,
    "CropForegroundd": croppad.CropForegroundd,
    "NormalizeIntensityd": intensity.NormalizeIntensityd,
    "ScaleIntensityd": intensity.ScaleIntensityd,
    "ScaleIntensityRanged": intensity.ScaleIntensityRanged,
    "ScaleIntensityRangePercentilesd": intensity.ScaleIntensityRangePercentilesd,
    "ClipIntensityPercentilesd": intensity.ClipIntensityPercentilesd,
    "ThresholdIntensityd": intensity.ThresholdIntensityd,
    "ShiftIntensityd": intensity.ShiftIntensityd,
    "StdShiftIntensityd": intensity.StdShiftIntensityd,
    "AdjustContrastd": intensity.AdjustContrastd,
    "HistogramNormalized": intensity.HistogramNormalized,
    "GaussianSmoothd": intensity.GaussianSmoothd,
    "GaussianSharpend": intensity.GaussianSharpend,
    "MedianSmoothd": intensity.MedianSmoothd,
}


def build_transforms(specs: Iterable[TransformSpec], *, with_label: bool) -> Callable[[Data], Data]:
    """Return one callable over ``{"image": ..., "label": ...}`` for a list of transforms.

    Raises ``transform-unknown`` or ``transform-argument-invalid`` before anything is run.
    """
    steps = [_build(spec.name, transform_arguments(spec.name, spec.args), with_label) for spec in specs]

    def apply(data: Data) -> Data:
        for step in steps:
            data = step(data)
        return data

    return apply


def build_preprocessing(specs: Iterable[TransformSpec]) -> Callable[[FloatArray], FloatArray]:
    """Return a bundle's own preprocessing as a function of the image (C, *shape) alone."""
    specs = tuple(specs)
    if not specs:
        return lambda image: image
    apply = build_transforms(specs, with_label=False)
    return lambda image: to_array(apply({"image": MetaTensor(torch.from_numpy(image))})["image"])


def to_array(image: Any) -> FloatArray:
    """Return a MONAI image as a contiguous float32 array."""
    return np.ascontiguousarray(torch.as_tensor(image).numpy(), dtype=np.float32)


def _build(name: str, checked: TransformArguments, with_label: bool) -> Callable[[Data], Data]:
    both = checked.kind == "geometry" and with_label
    arguments = checked.arguments() | _geometry_options(name, checked, both)
    step: Callable[[Data], Data] = _CLASSES[name](keys=["image", "label"] if both else ["image"], **arguments)
    return step


def _geometry_options(name: str, checked: TransformArguments, both: bool) -> dict[str, Any]:
    """Arguments that are the kit's decision: label maps are resampled by nearest neighbour, never interpolated."""
    if name == "Orientationd":
        return {"labels": None}
    if name == "Spacingd":
        return {"mode": ["bilinear", "nearest"] if both else ["bilinear"]}
    if name == "Resized":
        mode = str(checked.arguments()["mode"])
        smooth = bool(checked.arguments()["anti_aliasing"])
        return {"mode": [mode, "nearest"], "anti_aliasing": [smooth, False]} if both else {"mode": [mode]}
    if name == "CropForegroundd":
        return {"source_key": "image"}
    return {}
