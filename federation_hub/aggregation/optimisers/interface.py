"""The one interface of the hub's optimisers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from federation_hub.aggregation.layout import Float32, Float64

Step = Callable[[Float32, Float64, Sequence[Float64]], None]
"""``(base, change, moments)``: change ``moments`` in place, and ``change`` into the block of the next global model."""


@dataclass(frozen=True)
class Optimiser:
    """A step, and the moments it keeps from round to round with the value each starts from."""

    step: Step
    moments: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
