"""Networks for classification: image in, one logit a class out."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pipelines.bundles.architecture import (
    GROUP_OF_8,
    Activation,
    Channels,
    Dimensions,
    Dropout,
    HardCodedNorm,
    InputChannels,
    NetworkArguments,
    Norm,
    OddKernel,
    Outputs,
    Stride,
    convolution,
)
from pipelines.question import TaskKind


class ClassifierArguments(NetworkArguments):
    """``monai.networks.nets.Classifier``: strided (residual) convolutions, then one linear layer. Fast on a CPU."""

    network: ClassVar[str] = "Classifier"
    task: ClassVar[TaskKind] = "classification"

    in_shape: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=3, max_length=4)]
    classes: Outputs
    channels: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=8)]
    strides: Annotated[tuple[Stride, ...], Field(min_length=1, max_length=8)]
    kernel_size: OddKernel = 3
    num_res_units: Annotated[int, Field(ge=0, le=4)] = 2
    act: Activation = "prelu"
    norm: Norm = "instance"
    dropout: Dropout | None = None
    bias: bool = True

    @model_validator(mode="after")
    def _one_stride_a_layer(self) -> "ClassifierArguments":
        if len(self.strides) != len(self.channels):
            raise ValueError("one stride a layer")
        return self

    @property
    def input_channels(self) -> int:
        return self.in_shape[0]

    @property
    def outputs(self) -> int:
        return self.classes

    @property
    def dimensions(self) -> int:
        return len(self.in_shape) - 1

    def parameter_bound(self) -> int:
        total, inputs, sizes = 0, self.in_shape[0], list(self.in_shape[1:])
        for channels, stride in zip(self.channels, self.strides, strict=True):
            shortcut = 1 if self.num_res_units else 0
            again = max(self.num_res_units - 1, 0)
            total += (1 + shortcut) * convolution(self.dimensions, self.kernel_size, inputs, channels)
            total += again * convolution(self.dimensions, self.kernel_size, channels, channels)
            inputs, sizes = channels, [(size - 1) // stride + 1 for size in sizes]
        return total + (math.prod(sizes) * inputs + 1) * self.classes

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        return self.in_shape[1:]


class ResNetArguments(NetworkArguments):
    """``monai.networks.nets.ResNet`` (He et al. 2016) with four stages.

    MONAI 1.6.1 ignores ``norm`` inside the blocks; the kit builds it with batch normalisation and exchanges
    every layer.
    """

    network: ClassVar[str] = "ResNet"
    task: ClassVar[TaskKind] = "classification"

    block: Literal["basic", "bottleneck"] = "basic"
    layers: tuple[Annotated[int, Field(ge=1, le=40)], ...] = Field(default=(2, 2, 2, 2), min_length=4, max_length=4)
    block_inplanes: tuple[Channels, ...] = Field(default=(64, 128, 256, 512), min_length=4, max_length=4)
    spatial_dims: Dimensions
    n_input_channels: InputChannels
    conv1_t_size: OddKernel = 7
    conv1_t_stride: Literal[1, 2] = 1
    no_max_pool: bool = False
    num_classes: Outputs
    bias_downsample: bool = True
    norm: HardCodedNorm = GROUP_OF_8

    @property
    def input_channels(self) -> int:
        return self.n_input_channels

    @property
    def outputs(self) -> int:
        return self.num_classes

    @property
    def dimensions(self) -> int:
        return self.spatial_dims

    def parameter_bound(self) -> int:
        expansion = 1 if self.block == "basic" else 4
        total = convolution(self.dimensions, self.conv1_t_size, self.n_input_channels, self.block_inplanes[0])
        inputs = self.block_inplanes[0]
        for planes, blocks in zip(self.block_inplanes, self.layers, strict=True):
            total += convolution(self.dimensions, 1, inputs, planes * expansion)
            for _ in range(blocks):
                total += self._block(inputs, planes, expansion)
                inputs = planes * expansion
        return total + (inputs + 1) * self.num_classes

    def _block(self, inputs: int, planes: int, expansion: int) -> int:
        if expansion == 1:
            return convolution(self.dimensions, 3, inputs, planes) + convolution(self.dimensions, 3, planes, planes)
        return (
            convolution(self.dimensions, 1, inputs, planes)
            + convolution(self.dimensions, 3, planes, planes)
            + convolution(self.dimensions, 1, planes, planes * expansion)
        )


class DenseNetArguments(NetworkArguments):
    """``monai.networks.nets.DenseNet`` (Huang et al. 2017). Needs about 32 pixels a side for each pooling block."""

    network: ClassVar[str] = "DenseNet"
    task: ClassVar[TaskKind] = "classification"

    spatial_dims: Dimensions
    in_channels: InputChannels
    out_channels: Outputs
    init_features: Channels = 64
    growth_rate: Annotated[int, Field(ge=1, le=256)] = 32
    block_config: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=6)] = (
        6,
        12,
        24,
        16,
    )
    bn_size: Annotated[int, Field(ge=1, le=8)] = 4
    act: Activation = "relu"
    norm: Norm = GROUP_OF_8
    dropout_prob: Dropout = 0.0

    @property
    def input_channels(self) -> int:
        return self.in_channels

    @property
    def outputs(self) -> int:
        return self.out_channels

    @property
    def dimensions(self) -> int:
        return self.spatial_dims

    def parameter_bound(self) -> int:
        total = convolution(self.dimensions, 7, self.in_channels, self.init_features)
        channels, wide = self.init_features, self.bn_size * self.growth_rate
        for layers in self.block_config:
            for _ in range(layers):
                total += convolution(self.dimensions, 1, channels, wide) + 8 * channels
                total += convolution(self.dimensions, 3, wide, self.growth_rate)
                channels += self.growth_rate
            total += convolution(self.dimensions, 1, channels, channels // 2) + 8 * channels
            channels = channels // 2
        return total + (2 * channels + 2) * self.out_channels
