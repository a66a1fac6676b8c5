"""The mean of clipped updates with noise: differential privacy for each silo, with the hub trusted.

Each silo counts the same, its update scaled down to the clipping norm, and Gaussian noise is added to the sum, block
after block as the model is written (McMahan et al. 2018). Two studies are neighbours if one silo's updates are nought
in the other: who takes part in a round is public.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from federation_hub.aggregation.layout import Float32, Float64
from federation_hub.aggregation.rules.interface import Combine, Rule, Sites, weighted_sum
from pipelines.privacy.accounting import noise_for
from pipelines.privacy.clipping import Clipping, adapted, split_noise
from pipelines.privacy.randomness import SecretRandomness
from silo_node.wire.privacy import SiloPrivacy
from silo_node.wire.studies import StudyPlan


def planned_folds(plan: StudyPlan) -> int:
    """Return how many noisy means a plan's promise is made for."""
    assert isinstance(plan.privacy, SiloPrivacy)
    return plan.rounds + plan.privacy.spare_rounds


@dataclass
class PrivateMean:
    """One round's noisy mean; afterwards it knows the norm the next one clips to."""

    noise: float
    """The multiplier of everything a round tells."""

    clipping: Clipping
    randomness: SecretRandomness
    next_norm: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, plan: StudyPlan, norm: float, randomness: SecretRandomness) -> "PrivateMean":
        """Return the mean a plan asks for, at the norm reached; loads the accountant."""
        assert isinstance(plan.privacy, SiloPrivacy)
        promise = plan.privacy
        noise = noise_for(promise.epsilon, promise.delta, rate=1.0, steps=planned_folds(plan))
        return cls(noise, Clipping(norm, promise.clipping_quantile), randomness)

    @property
    def rule(self) -> Rule:
        """Return it as a rule of the fold."""
        return Rule(self._prepare, needs="norms")

    def next(self) -> "PrivateMean":
        """Return the next round's mean."""
        return replace(self, clipping=replace(self.clipping, norm=self.next_norm))

    def _prepare(self, sites: Sites) -> Combine:
        norm, count = self.clipping.norm, len(sites.silo_ids)
        norms = sites.norms
        multiplier, count_noise = split_noise(self.noise, count, self.clipping.quantile)
        centred = float((norms <= norm).sum()) - count / 2
        self.next_norm = adapted(self.clipping, centred, count, count_noise, self.randomness)
        mean = weighted_sum(norm / np.maximum(norms, norm), float(count))
        deviation = multiplier * norm / count

        def combine(updates: Sequence[Float32], out: Float64) -> None:
            mean(updates, out)
            out += self.randomness.normal(len(out)) * deviation

        return combine
