"""The exact list of deterministic MONAI transforms a benchmark or a bundle may name, and the schema of their arguments.

Names are MONAI's dictionary transforms. ``keys`` is never an argument: a transform of *geometry* moves image and label
together (the label by nearest neighbour), one of *intensity* changes the image alone. MONAI's Savitzky-Golay filter is
left out: its least squares differ in the last bit from one call to the next. A bundle for segmentation may use
intensity transforms only, so that what it predicts lies on the benchmark's own grid.
"""

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import PipelineError
from pipelines.question import TransformSpec, Value, first_field

MAX_VOXELS = 2**27
Kind = Literal["geometry", "intensity"]
Size = Annotated[int, Field(ge=1, le=4096)]
Sizes = Annotated[tuple[Size, ...], Field(min_length=2, max_length=3)]
Margin = Annotated[int, Field(ge=0, le=512)]
Margins = Annotated[tuple[Margin, ...], Field(min_length=1, max_length=6)]
Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Percent = Annotated[float, Field(ge=0, le=100)]
Axis = Annotated[int, Field(ge=0, le=2)]


class TransformArguments(Value):
    """The arguments of one transform, named as in MONAI."""

    model_config = ConfigDict(strict=True)
    kind: ClassVar[Kind]

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for the MONAI class, without ``keys``."""
        return self.model_dump(mode="python")


class _Geometry(TransformArguments):
    kind: ClassVar[Kind] = "geometry"


class _Intensity(TransformArguments):
    kind: ClassVar[Kind] = "intensity"


def _few_enough(sizes: tuple[int, ...]) -> None:
    if math.prod(sizes) > MAX_VOXELS:
        raise ValueError("too many voxels")


class _ToSize(_Geometry):
    spatial_size: Sizes

    @model_validator(mode="after")
    def _small(self) -> "_ToSize":
        _few_enough(self.spatial_size)
        return self


class Orientation(_Geometry):
    """Turn and flip the axes to an anatomical orientation such as RAS."""

    axcodes: Annotated[str, Field(pattern=r"^[LRAPSI]{3}$")] = "RAS"


class Spacing(_Geometry):
    """Resample to a voxel size in millimetres: image linear, label nearest."""

    pixdim: Annotated[tuple[Annotated[float, Field(ge=0.05, le=50)], ...], Field(min_length=2, max_length=3)]


class Resize(_ToSize):
    """Resample to a number of voxels, by area unless said otherwise."""

    mode: Literal["area", "bilinear", "trilinear", "nearest"] = "area"
    anti_aliasing: bool = False


class ResizeWithPadOrCrop(_ToSize):
    """Crop or zero-pad symmetrically to a number of voxels."""


class SpatialPad(_ToSize):
    """Zero-pad symmetrically to at least a number of voxels."""


class CenterSpatialCrop(_Geometry):
    """Keep the middle."""

    roi_size: Sizes


class DivisiblePad(_Geometry):
    """Zero-pad each axis to a multiple of ``k``."""

    k: Annotated[int, Field(ge=1, le=256)]


class BorderPad(_Geometry):
    """Add a border of zeros."""

    spatial_border: Margins


class CropForeground(_Geometry):
    """Crop to the box round the positive voxels of the image, plus a margin."""

    margin: Margin = 0
    k_divisible: Annotated[int, Field(ge=1, le=256)] = 1


class Flip(_Geometry):
    """Mirror along axes."""

    spatial_axis: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=3)]


class Rotate90(_Geometry):
    """Turn by quarter turns in a plane."""

    k: Literal[1, 2, 3] = 1
    spatial_axes: tuple[Axis, Axis] = (0, 1)


class NormalizeIntensity(_Intensity):
    """Subtract the mean and divide by the standard deviation, of the image or as given."""

    subtrahend: Number | None = None
    divisor: Annotated[float, Field(ge=1e-6, le=1e9)] | None = None
    nonzero: bool = False
    channel_wise: bool = False


class ScaleIntensity(_Intensity):
    """Scale linearly so that minimum and maximum become ``minv`` and ``maxv``."""

    minv: Number = 0.0
    maxv: Number = 1.0
    channel_wise: bool = False


class ScaleIntensityRange(_Intensity):
    """Map the range ``a_min..a_max`` to ``b_min..b_max``: windowing."""

    a_min: Number
    a_max: Number
    b_min: Number = 0.0
    b_max: Number = 1.0
    clip: bool = False


class ScaleIntensityRangePercentiles(_Intensity):
    """Map percentiles of the image to ``b_min..b_max``."""

    lower: Percent
    upper: Percent
    b_min: Number = 0.0
    b_max: Number = 1.0
    clip: bool = False
    relative: bool = False
    channel_wise: bool = False


class ClipIntensityPercentiles(_Intensity):
    """Clip at percentiles of the image."""

    lower: Percent
    upper: Percent
    channel_wise: bool = False


class ThresholdIntensity(_Intensity):
    """Replace what is not above (or not below) a threshold by a constant."""

    threshold: Number
    above: bool = True
    cval: Number = 0.0


class ShiftIntensity(_Intensity):
    """Add a constant."""

    offset: Number


class StdShiftIntensity(_Intensity):
    """Add a multiple of the image's standard deviation."""

    factor: Number
    nonzero: bool = False
    channel_wise: bool = False


class AdjustContrast(_Intensity):
    """Gamma correction over the image's own range."""

    gamma: Annotated[float, Field(gt=0, le=10)]
    invert_image: bool = False
    retain_stats: bool = False


class HistogramNormalize(_Intensity):
    """Equalise the histogram."""

    num_bins: Annotated[int, Field(ge=2, le=65536)] = 256
    min: Annotated[int, Field(ge=-65536, le=65536)] = 0
    max: Annotated[int, Field(ge=-65536, le=65536)] = 255


class GaussianSmooth(_Intensity):
    """Blur; sigma in voxels."""

    sigma: Annotated[float, Field(gt=0, le=50)] = 1.0


class GaussianSharpen(_Intensity):
    """Sharpen by the difference of two blurs; sigmas in voxels."""

    sigma1: Annotated[float, Field(gt=0, le=50)] = 3.0
    sigma2: Annotated[float, Field(gt=0, le=50)] = 1.0
    alpha: Annotated[float, Field(ge=0, le=1000)] = 30.0


class MedianSmooth(_Intensity):
    """Median filter; radius in voxels."""

    radius: Annotated[int, Field(ge=1, le=7)] = 1


TRANSFORMS: dict[str, type[TransformArguments]] = {
    f"{kind.__name__}d": kind
    for kind in (
        Orientation,
        Spacing,
        Resize,
        ResizeWithPadOrCrop,
        SpatialPad,
        CenterSpatialCrop,
        DivisiblePad,
        BorderPad,
        CropForeground,
        Flip,
        Rotate90,
        NormalizeIntensity,
        ScaleIntensity,
        ScaleIntensityRange,
        ScaleIntensityRangePercentiles,
        ClipIntensityPercentiles,
        ThresholdIntensity,
        ShiftIntensity,
        StdShiftIntensity,
        AdjustContrast,
        HistogramNormalize,
        GaussianSmooth,
        GaussianSharpen,
        MedianSmooth,
    )
}


def transform_arguments(name: str, args: dict[str, Any]) -> TransformArguments:
    """Return a transform's checked arguments; raises ``transform-unknown`` or ``transform-argument-invalid``."""
    kind = TRANSFORMS.get(name)
    if kind is None:
        raise PipelineError("transform-unknown", "it is not in the list of transforms")
    try:
        return kind.model_validate_json(json.dumps(args))
    except ValidationError as error:
        raise PipelineError("transform-argument-invalid", f"{name}: argument {first_field(error)}") from None


def check_transforms(specs: Iterable[TransformSpec], *, intensity_only: bool = False) -> list[TransformArguments]:
    """Check a list of transforms in order, as a benchmark's preparation or a bundle's preprocessing gives it."""
    checked = [transform_arguments(spec.name, spec.args) for spec in specs]
    if intensity_only and any(entry.kind == "geometry" for entry in checked):
        raise PipelineError("transform-argument-invalid", "a bundle for segmentation may only change intensities")
    return checked
