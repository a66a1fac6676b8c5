"""A clipping norm that follows a quantile of the norms it clips, privately (Andrew et al. 2021); without torch."""

from dataclasses import dataclass
from math import exp

from pipelines.privacy.randomness import SecretRandomness

COUNT_NOISE_SHARE = 1 / 20
"""Noise on the count of units that were not clipped, over the units expected, as the paper recommends."""

RATE = 0.2
"""How fast the norm follows: the paper's learning rate."""


@dataclass(frozen=True)
class Clipping:
    """The L2 norm a unit's contribution is clipped to; with a quantile, the norm follows it."""

    norm: float
    quantile: float | None = None


def split_noise(noise: float, expected: float, quantile: float | None) -> tuple[float, float]:
    """Return the noise multiplier of the contributions and the deviation of the count's noise, at one cost together.

    The count is of ``1/2`` or ``-1/2`` a unit, so its sensitivity is a half; both noises together tell as much as
    ``noise`` on the contributions alone (theorem 1). The count's noise is a twentieth of the units expected, or twice
    ``noise`` where that is more: then the contributions' noise grows by a thirtieth.
    """
    if quantile is None:
        return noise, 0.0
    count = max(expected * COUNT_NOISE_SHARE, 2 * noise)
    return (noise**-2 - (2 * count) ** -2) ** -0.5, count


def adapted(
    clipping: Clipping, centred: float, expected: float, count_noise: float, randomness: SecretRandomness
) -> float:
    """Return the next norm. ``centred`` is the sum of a half for each unit not clipped, less a half for each other."""
    if clipping.quantile is None:
        return clipping.norm
    noisy = centred + float(randomness.normal(1)[0]) * count_noise
    share = min(max(noisy / expected + 0.5, 0.0), 1.0)
    return clipping.norm * exp(-RATE * (share - clipping.quantile))
