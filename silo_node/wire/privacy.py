"""What a study promises a patient or a whole site, in numbers: the ``[privacy]`` table of a plan.

A promise names its unit. With ``patient`` the noise is drawn at the silo, inside every step of training, and nobody
outside the hospital need be trusted; with ``silo`` the hub draws it, once a round, and must be trusted.
"""

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Field

from silo_node.wire.base import Message

if TYPE_CHECKING:
    from silo_node.wire.studies import StudyPlan

Epsilon = Annotated[float, Field(ge=0.01, le=1000)]
Delta = Annotated[float, Field(ge=1e-15, le=1e-2)]
ClippingNorm = Annotated[float, Field(gt=0, le=1e6)]
Quantile = Annotated[float, Field(gt=0, lt=1)]


class PatientPrivacy(Message):
    """Differentially private training at every silo (DP-SGD, Abadi et al. 2016), all images of a patient as one.

    ``local.batch_size`` is then the number of *patients* a step expects: each is drawn by itself, with the same
    probability. The noise follows from ``epsilon``, ``delta`` and the steps planned, at each silo from its own number
    of patients.
    """

    unit: Literal["patient"]
    epsilon: Epsilon
    delta: Delta = 1e-5
    clipping_norm: ClippingNorm = 1.0
    """The largest L2 norm of one patient's gradient; where it adapts, the norm of a round's first step."""

    clipping_quantile: Quantile | None = None
    """Adapt the norm so that this share of patients is not clipped (Andrew et al. 2021)."""

    images_per_patient: Annotated[int, Field(ge=1, le=1000)] = 4
    """At most so many images of a patient enter a step; their gradients are averaged before the clipping."""

    spare_rounds: Annotated[int, Field(ge=0, le=1000)] = 1
    """Rounds that may be trained a second time, after a missed quorum or a killed process, within the promise."""


class SiloPrivacy(Message):
    """Differentially private aggregation at the hub (McMahan et al. 2018): each silo's update is clipped and counts
    the same, and the noise is added once a round. The unit is everything a silo holds.
    """

    unit: Literal["silo"]
    epsilon: Epsilon
    delta: Delta = 1e-3
    clipping_norm: ClippingNorm
    """The largest L2 norm of an update; where it adapts, that of the first round."""

    clipping_quantile: Quantile | None = None
    """Adapt the norm so that this share of updates is not clipped (Andrew et al. 2021)."""

    spare_rounds: Annotated[int, Field(ge=0, le=1000)] = 1
    """Rounds that may be combined a second time, after a roll-back or a killed hub, within the promise."""


Privacy = Annotated[PatientPrivacy | SiloPrivacy, Discriminator("unit")]


@dataclass(frozen=True, slots=True)
class PatientSteps:
    """The private steps a silo's training consists of."""

    rate: float
    """The probability with which a patient takes part in a step."""

    expected: int
    """Patients a step expects."""

    a_round: int
    planned: int
    """Steps of all rounds, the spare ones counted in."""


def patient_steps(plan: "StudyPlan", patients: int) -> PatientSteps:
    """Return a silo's private steps under a plan, by its number of training patients."""
    assert isinstance(plan.privacy, PatientPrivacy)
    local, expected = plan.local, min(plan.local.batch_size, patients)
    a_round = local.epochs * ceil(patients / expected)
    a_round = a_round if local.max_steps is None else min(a_round, local.max_steps)
    return PatientSteps(expected / patients, expected, a_round, a_round * (plan.rounds + plan.privacy.spare_rounds))
