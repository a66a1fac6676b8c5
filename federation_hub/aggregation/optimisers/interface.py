"""The one interface of the hub's optimisers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from federation_hub.aggregation.layout import Float32, Float64
from federation_hub.aggregation.rules.interface import Combine

Step = Callable[[Float32, Float64, Sequence[Float64]], None]
"""``(base, change, moments)``: change ``moments`` in place, and ``change`` into the block of the next global model.

Where the optimiser has a ``second`` combination of the updates, it is the last of ``moments`` and is not kept.
"""


@dataclass(frozen=True)
class Turnout:
    """What an optimiser may know of who answered a round, in the order of silo ids."""

    weights: tuple[int, ...]
    """Training cases of the silos whose updates are folded."""

    steps: tuple[int, ...]
    """Local steps of each."""

    population: int
    """Training cases of all the study's silos, whether they answered or not."""

    rate: float
    """The silos' learning rate."""


@dataclass(frozen=True)
class Optimiser:
    """A step, and the moments it keeps from round to round with the value each starts from."""

    step: Step
    moments: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    second: Combine | None = None
