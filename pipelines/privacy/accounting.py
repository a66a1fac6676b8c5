"""How much privacy a sequence of noisy answers costs: the book of record, by privacy loss distributions.

``dp-accounting`` composes the exact distributions and rounds up; Opacus's accountants only check it, in the tests.
Neighbouring data sets differ by one unit (a patient, a silo) that is there or not. Nothing here loads torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Literal

GRID = 1e-3
"""The width of the grid of privacy losses. Rounding is upwards: a wider grid says more was spent, never less."""

SEARCH_GRID_SHARE, FINEST_GRID = 1 / 500, 1e-4
"""The grid of a search for noise, over epsilon; what it finds is within a hundredth of the least noise."""

LEAST_NOISE, LARGEST_NOISE = 0.3, 1e4
PRECISION = 1e-3
"""Relative width of the search for a noise multiplier; the larger end is taken."""


@dataclass(frozen=True, order=True)
class Mechanism:
    """One kind of noisy answer, given ``steps`` times.

    ``gaussian``: ``noise`` is the standard deviation over the sensitivity, each unit taking part with probability
    ``rate``. ``laplace``: ``noise`` is the scale over the sensitivity. ``none``: an answer without noise.
    """

    kind: Literal["gaussian", "laplace", "none"]
    noise: float = 0.0
    rate: float = 1.0
    steps: int = 1


def epsilon_of(mechanisms: Iterable[Mechanism], delta: float, grid: float = GRID) -> float:
    """Return the epsilon at ``delta`` of all these answers together; infinite where one of them has no noise."""
    merged: dict[tuple[str, float, float], int] = {}
    for one in mechanisms:
        if one.steps and (one.kind == "none" or one.noise <= 0):
            return inf
        key = (one.kind, one.noise, one.rate)
        merged[key] = merged.get(key, 0) + one.steps
    return _composed(tuple(sorted((*key, steps) for key, steps in merged.items() if steps)), delta, grid)


@lru_cache(maxsize=256)
def _composed(events: tuple[tuple[str, float, float, int], ...], delta: float, grid: float) -> float:
    if not events:
        return 0.0
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=grid)
    for kind, noise, rate, steps in events:
        if kind == "laplace":
            accountant.compose(dp_accounting.LaplaceDpEvent(noise), steps)
        else:
            event = dp_accounting.GaussianDpEvent(noise)
            accountant.compose(dp_accounting.PoissonSampledDpEvent(rate, event) if rate < 1 else event, steps)
    return float(accountant.get_epsilon(delta))


@lru_cache(maxsize=256)
def noise_for(epsilon: float, delta: float, *, rate: float, steps: int) -> float:
    """Return the smallest noise multiplier with which ``steps`` sampled Gaussian steps cost at most ``epsilon``.

    Raises ``ValueError`` where not even a multiplier of 10,000 is enough.
    """

    def cost(noise: float) -> float:
        return epsilon_of(
            [Mechanism("gaussian", noise, rate, steps)], delta, max(epsilon * SEARCH_GRID_SHARE, FINEST_GRID)
        )

    high = 1.0
    while cost(high) > epsilon:
        high *= 2
        if high > LARGEST_NOISE:
            raise ValueError("no noise is enough")
    low = high / 2
    while low > LEAST_NOISE and cost(low) <= epsilon:
        high, low = low, low / 2
    while high - low > PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= epsilon else (middle, high)
    return high
