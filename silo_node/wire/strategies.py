"""How a study makes one model of many: the rule that combines the updates, and the optimiser that applies the result.

The two are chosen apart, so every optimiser works with every rule. A bare name stands for the choice with its defaults.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field

from silo_node.wire.base import Identifier, Message
from silo_node.wire.neighbours import NeighbourRule

Rate = Annotated[float, Field(gt=0, le=100)]
Adaptivity = Annotated[float, Field(ge=1e-8, le=100)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Liars = Annotated[int, Field(ge=1, le=499)]
Radius = Annotated[float, Field(gt=0, le=1e12)]


class FedAvg(Message):
    """Add the combined update as it is (McMahan et al. 2017)."""

    name: Literal["fedavg"] = "fedavg"


class FedAvgM(Message):
    """Momentum at the server (Hsu et al. 2019): ``m = momentum * m + change``, ``model += learning_rate * m``."""

    name: Literal["fedavgm"] = "fedavgm"
    learning_rate: Rate = 1.0
    momentum: Decay = 0.9


class FedAdagrad(Message):
    """Adagrad at the server (Reddi et al. 2021): the squares of all changes are summed up."""

    name: Literal["fedadagrad"] = "fedadagrad"
    learning_rate: Rate = 0.01
    beta1: Decay = 0.0
    adaptivity: Adaptivity = 1e-3
    """Added to the root of the second moment, which starts at its square: smaller adapts more."""


class FedAdam(Message):
    """Adam at the server (Reddi et al. 2021), without correction of the bias."""

    name: Literal["fedadam"] = "fedadam"
    learning_rate: Rate = 0.01
    beta1: Decay = 0.9
    beta2: Decay = 0.99
    adaptivity: Adaptivity = 1e-3
    """Added to the root of the second moment, which starts at its square: smaller adapts more."""


class FedYogi(Message):
    """Yogi at the server (Reddi et al. 2021): Adam whose second moment shrinks slowly."""

    name: Literal["fedyogi"] = "fedyogi"
    learning_rate: Rate = 0.01
    beta1: Decay = 0.9
    beta2: Decay = 0.99
    adaptivity: Adaptivity = 1e-3
    """Added to the root of the second moment, which starts at its square: smaller adapts more."""


class Scaffold(Message):
    """Control variates against client drift (Karimireddy et al. 2020, option II): each step is ``g - c_i + c``.

    Every silo keeps its own ``c_i``; the hub keeps ``c``, their mean by training cases, which it works out from the
    updates themselves: nothing more is sent up than in federated averaging.
    """

    name: Literal["scaffold"] = "scaffold"
    learning_rate: Rate = 1.0


class Shared(Message):
    """Every silo trains the global model and keeps nothing of its own."""

    name: Literal["none"] = "none"


class FedBN(Message):
    """Normalisation layers stay at the silo (Li et al. 2021); their changes travel as noughts."""

    name: Literal["fedbn"] = "fedbn"


class Ditto(Message):
    """A personal model beside the global one (Li et al. 2021): ``strength / 2 * |v - w_global| ** 2`` on its loss."""

    name: Literal["ditto"] = "ditto"
    strength: Annotated[float, Field(ge=0, le=1000)] = 0.1


class Mean(Message):
    """The mean weighted by registered training cases. One lying site can move it anywhere."""

    name: Literal["mean"] = "mean"


class NormClipping(Message):
    """The weighted mean of updates scaled down to ``radius`` where they are longer."""

    name: Literal["norm_clipping"] = "norm_clipping"
    radius: Radius


class CoordinateMedian(Message):
    """The median of each value by itself (Yin et al. 2018); every site counts the same."""

    name: Literal["median"] = "median"
    liars: Liars = 1
    """How many sites of a round may send anything at all."""


class TrimmedMean(Message):
    """The mean of each value without its ``liars`` largest and smallest (Yin et al. 2018)."""

    name: Literal["trimmed_mean"] = "trimmed_mean"
    liars: Liars = 1


class GeometricMedian(Message):
    """The point with the least sum of distances, by smoothed Weiszfeld steps (RFA, Pillutla et al. 2022)."""

    name: Literal["geometric_median"] = "geometric_median"
    liars: Liars = 1
    steps: Annotated[int, Field(ge=1, le=1000)] = 32
    smoothing: Radius = 1e-6
    """Distances count as at least this."""


class CentredClipping(Message):
    """Steps from the global model by the mean of differences clipped to ``radius`` (Karimireddy et al. 2021)."""

    name: Literal["centred_clipping"] = "centred_clipping"
    liars: Liars = 1
    radius: Radius
    steps: Annotated[int, Field(ge=1, le=100)] = 3


class Krum(Message):
    """The one update nearest to its ``n - liars - 2`` nearest others (Blanchard et al. 2017)."""

    name: Literal["krum"] = "krum"
    liars: Liars = 1


class MultiKrum(Message):
    """The mean of the ``n - liars - 2`` updates that Krum scores best (Blanchard et al. 2017)."""

    name: Literal["multi_krum"] = "multi_krum"
    liars: Liars = 1


class Bulyan(Message):
    """Krum picks ``n - 2 * liars`` updates; of those the mean of values nearest the median (El Mhamdi et al. 2018)."""

    name: Literal["bulyan"] = "bulyan"
    liars: Liars = 1


class FLTrust(Message):
    """Updates weighted by their cosine with one trusted site's and scaled to its length (Cao et al. 2021)."""

    name: Literal["fltrust"] = "fltrust"
    root: Identifier
    """The silo whose update is trusted; a round without it is not committed."""


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Strategy = Annotated[
    FedAvg | FedAvgM | FedAdagrad | FedAdam | FedYogi | Scaffold, Discriminator("name"), BeforeValidator(_named)
]
Personalisation = Annotated[Shared | FedBN | Ditto, Discriminator("name"), BeforeValidator(_named)]
Combination = Annotated[
    Mean
    | NormClipping
    | CoordinateMedian
    | TrimmedMean
    | GeometricMedian
    | CentredClipping
    | Krum
    | MultiKrum
    | Bulyan
    | FLTrust,
    Discriminator("name"),
    BeforeValidator(_named),
]

_SITES_NEEDED: Mapping[str, tuple[int, int]] = {
    "median": (2, 1),
    "trimmed_mean": (2, 1),
    "geometric_median": (2, 1),
    "centred_clipping": (2, 1),
    "krum": (2, 3),
    "multi_krum": (2, 3),
    "bulyan": (4, 3),
    "fltrust": (0, 2),
}


def chosen(strategy: Strategy | Combination | Personalisation | NeighbourRule) -> str:
    """Return a strategy or a rule with its parameters on one line."""
    parameters = strategy.model_dump(exclude={"name"})
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in parameters.items())
    return strategy.name + (f" ({words})" if words else "")


def liars_assumed(rule: Combination) -> int:
    """Return how many sites of a round may send anything at all without the rule's promise breaking."""
    return getattr(rule, "liars", 0)


def sites_needed(rule: Combination) -> int:
    """Return the fewest updates of a round for which the rule's own paper promises anything."""
    factor, extra = _SITES_NEEDED.get(rule.name, (0, 1))
    return factor * liars_assumed(rule) + extra
