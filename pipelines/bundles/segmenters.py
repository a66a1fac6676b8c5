"""Networks for segmentation: image in, one logit map a label (background first) out, on the same grid."""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipelines.bundles.architecture import (
    GROUP_OF_8,
    Activation,
    Channels,
    Dimensions,
    Dropout,
    HardCodedNorm,
    InputChannels,
    InstanceOptions,
    NetworkArguments,
    Norm,
    OddKernel,
    Outputs,
    Stride,
    convolution,
)
from pipelines.question import TaskKind

_Levels = Annotated[tuple[Channels, ...], Field(min_length=2, max_length=7)]
_Strides = Annotated[tuple[Stride, ...], Field(min_length=1, max_length=6)]


class _Segmenter(NetworkArguments):
    task: ClassVar[TaskKind] = "segmentation"

    spatial_dims: Dimensions
    in_channels: InputChannels
    out_channels: Outputs

    @property
    def input_channels(self) -> int:
        return self.in_channels

    @property
    def outputs(self) -> int:
        return self.out_channels

    @property
    def dimensions(self) -> int:
        return self.spatial_dims

    def _conv(self, kernel: int, inputs: int, outputs: int) -> int:
        return convolution(self.spatial_dims, kernel, inputs, outputs)


class UNetArguments(_Segmenter):
    """``monai.networks.nets.UNet`` with residual units (Kerfoot et al. 2019). Fast and small."""

    network: ClassVar[str] = "UNet"

    channels: _Levels
    strides: _Strides
    kernel_size: OddKernel = 3
    up_kernel_size: OddKernel = 3
    num_res_units: Annotated[int, Field(ge=0, le=4)] = 0
    act: Activation = "prelu"
    norm: Norm = "instance"
    dropout: Dropout = 0.0
    bias: bool = True

    @model_validator(mode="after")
    def _one_stride_a_step(self) -> "UNetArguments":
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError("one stride fewer than channels")
        return self

    def parameter_bound(self) -> int:
        total, inputs = 0, self.in_channels
        for level, channels in enumerate(self.channels):
            total += (2 if self.num_res_units else 1) * self._conv(self.kernel_size, inputs, channels)
            total += max(self.num_res_units - 1, 0) * self._conv(self.kernel_size, channels, channels)
            if level < len(self.channels) - 1:
                upper = self.out_channels if level == 0 else self.channels[level - 1]
                lower = max(2 * channels, channels + self.channels[level + 1])
                total += self._conv(self.up_kernel_size, lower, upper) + self._conv(self.kernel_size, upper, upper)
            inputs = channels
        return total


class BasicUNetArguments(_Segmenter):
    """``monai.networks.nets.BasicUNet`` (Falk et al. 2019): four levels, two convolutions each."""

    network: ClassVar[str] = "BasicUNet"

    features: Annotated[tuple[Channels, ...], Field(min_length=6, max_length=6)] = (32, 32, 64, 128, 256, 32)
    act: Activation = "leakyrelu"
    norm: Norm = ("instance", InstanceOptions())
    bias: bool = True
    dropout: Dropout = 0.0
    upsample: Literal["deconv", "nontrainable"] = "deconv"

    def parameter_bound(self) -> int:
        first, last = self.features[0], self.features[5]
        total = self._conv(3, self.in_channels, first) + self._conv(3, first, first)
        for upper, lower in pairwise(self.features[:5]):
            total += self._conv(3, upper, lower) + self._conv(3, lower, lower)
            # The top level does not halve its channels when it goes up, and may end in a different number.
            outputs = max(upper, last)
            total += (
                self._conv(2, lower, lower) + self._conv(3, upper + lower, outputs) + self._conv(3, outputs, outputs)
            )
        return total + self._conv(1, last, self.out_channels)


class SegResNetArguments(_Segmenter):
    """``monai.networks.nets.SegResNet`` (Myronenko 2018) without the variational branch."""

    network: ClassVar[str] = "SegResNet"

    init_filters: Annotated[int, Field(ge=1, le=256)] = 8
    dropout_prob: Dropout | None = None
    act: Activation = "relu"
    norm: Norm = GROUP_OF_8
    blocks_down: Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(min_length=2, max_length=6)] = (
        1,
        2,
        2,
        4,
    )
    blocks_up: Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(min_length=1, max_length=5)] = (1, 1, 1)
    upsample_mode: Literal["deconv", "nontrainable"] = "nontrainable"

    @model_validator(mode="after")
    def _as_many_up_as_down(self) -> "SegResNetArguments":
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError("one step up for each step down")
        return self

    def parameter_bound(self) -> int:
        total = self._conv(3, self.in_channels, self.init_filters)
        for level, blocks in enumerate(self.blocks_down):
            filters = self.init_filters * 2**level
            total += self._conv(3, filters, filters) + 2 * blocks * self._conv(3, filters, filters)
        for step, blocks in enumerate(self.blocks_up):
            filters = self.init_filters * 2 ** (len(self.blocks_up) - step - 1)
            total += self._conv(1, 2 * filters, filters) + (2 * blocks + 1) * self._conv(3, filters, filters)
        return total + self._conv(1, self.init_filters, self.out_channels) + 8 * self.init_filters


class DynUNetArguments(_Segmenter):
    """``monai.networks.nets.DynUNet``: nnU-Net's architecture (Isensee et al. 2021), one kernel and stride a level."""

    network: ClassVar[str] = "DynUNet"

    kernel_size: Annotated[tuple[OddKernel, ...], Field(min_length=3, max_length=7)]
    strides: Annotated[tuple[Stride, ...], Field(min_length=3, max_length=7)]
    filters: Annotated[tuple[Channels, ...], Field(min_length=3, max_length=7)]
    dropout: Dropout | None = None
    norm_name: Norm = ("instance", InstanceOptions())
    act_name: Activation = "leakyrelu"
    res_block: bool = False
    trans_bias: bool = False

    @model_validator(mode="after")
    def _one_a_level(self) -> "DynUNetArguments":
        if not len(self.kernel_size) == len(self.strides) == len(self.filters):
            raise ValueError("kernel_size, strides and filters have one entry a level")
        if self.strides[0] != 1:
            raise ValueError("the first stride must be 1, or the output is smaller than the image")
        return self

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"upsample_kernel_size": self.strides[1:], "deep_supervision": False}

    def parameter_bound(self) -> int:
        total, inputs = 0, self.in_channels
        for kernel, filters in zip(self.kernel_size, self.filters, strict=True):
            total += self._conv(kernel, inputs, filters) + self._conv(kernel, filters, filters)
            total += self._conv(1, inputs, filters)
            inputs = filters
        for level, (upper, lower) in enumerate(pairwise(self.filters)):
            kernel = self.kernel_size[level + 1]
            total += self._conv(self.strides[level + 1], lower, upper)
            total += self._conv(kernel, 2 * upper, upper) + self._conv(kernel, upper, upper)
        return total + self._conv(1, self.filters[0], self.out_channels)


class AttentionUnetArguments(_Segmenter):
    """``monai.networks.nets.AttentionUnet`` (Oktay et al. 2018). MONAI hard-codes batch normalisation; see ``norm``."""

    network: ClassVar[str] = "AttentionUnet"

    channels: _Levels
    strides: _Strides
    kernel_size: OddKernel = 3
    up_kernel_size: OddKernel = 3
    dropout: Dropout = 0.0
    norm: HardCodedNorm = GROUP_OF_8

    @model_validator(mode="after")
    def _one_stride_a_step(self) -> "AttentionUnetArguments":
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError("one stride fewer than channels")
        return self

    def parameter_bound(self) -> int:
        first = self.channels[0]
        total = self._conv(self.kernel_size, self.in_channels, first) + self._conv(self.kernel_size, first, first)
        for upper, lower in pairwise(self.channels):
            total += self._conv(self.kernel_size, upper, lower) + self._conv(self.kernel_size, lower, lower)
            total += self._conv(self.up_kernel_size, lower, upper) + self._conv(3, 2 * upper, upper)
            total += 2 * self._conv(1, upper, upper) + self._conv(1, upper, 1)
        return total + self._conv(1, first, self.out_channels)
