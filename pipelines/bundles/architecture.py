"""What every entry of the registry of networks declares: typed arguments with bounds, and how large it can get.

Argument names are those of the MONAI class. Every default is written out here, so that a later MONAI cannot change what
a published bundle means. ``norm`` never defaults to batch normalisation: its running statistics do not average
well over hospitals, and its step counter is an integer that must not be averaged at all.
"""

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from pipelines.question import TaskKind, Value

Channels = Annotated[int, Field(ge=1, le=2048)]
Stride = Annotated[int, Field(ge=1, le=4)]
OddKernel = Literal[1, 3, 5, 7]
Dimensions = Literal[2, 3]
InputChannels = Annotated[int, Field(ge=1, le=16)]
Outputs = Annotated[int, Field(ge=2, le=20)]
Dropout = Annotated[float, Field(ge=0, le=0.9)]
Activation = Literal["relu", "leakyrelu", "prelu", "elu", "gelu", "swish", "mish"]


class _Strict(Value):
    model_config = ConfigDict(strict=True)


class GroupOptions(_Strict):
    """Options of group normalisation; the number of groups must divide every number of channels."""

    num_groups: Annotated[int, Field(ge=1, le=256)] = 8
    affine: bool = True


class InstanceOptions(_Strict):
    """Options of instance normalisation."""

    affine: bool = True


GroupNorm = tuple[Literal["group"], GroupOptions]
Norm = Literal["instance", "batch"] | GroupNorm | tuple[Literal["instance"], InstanceOptions]
HardCodedNorm = Literal["batch"] | GroupNorm
"""For classes in which MONAI 1.6 writes batch normalisation in place: the kit exchanges it for the group kind."""

GROUP_OF_8: GroupNorm = ("group", GroupOptions())


class NetworkArguments(_Strict):
    """The arguments of one MONAI network. Subclasses carry the class name and the kind of task it is for."""

    network: ClassVar[str]
    task: ClassVar[TaskKind]

    @property
    @abstractmethod
    def input_channels(self) -> int:
        """Channels of the image it takes."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Classes or structures (background included) it returns."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Spatial dimensions, 2 or 3."""

    @abstractmethod
    def parameter_bound(self) -> int:
        """An upper bound of the number of tensor elements, from the arguments alone and without building anything."""

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for the MONAI class, every default included."""
        return self.model_dump(mode="python")

    @property
    def fixed_shape(self) -> tuple[int, ...] | None:
        """The only image size it takes, where there is just one."""
        return None


def convolution(dimensions: int, kernel: int, inputs: int, outputs: int) -> int:
    """Bound a convolution with bias, normalisation (running statistics included) and a learnt activation."""
    taps: int = kernel**dimensions
    return taps * inputs * outputs + 8 * outputs + 2
