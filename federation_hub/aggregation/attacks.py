"""What lying sites may do, as pure functions: the measure of every robust rule.

An attack on updates sees what a strong attacker sees, all honest updates of the round, and returns one row for each
liar. Attacks on data change the liars' own cases before they train as told. None of it is used by a running study.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from federation_hub.aggregation.layout import Float64
from federation_hub.aggregation.rules.interface import squared_distances
from federation_hub.aggregation.rules.krum import krum_scores

HALVINGS = 24
"""Steps of every search for the largest deviation that still passes."""


@dataclass(frozen=True)
class Knowledge:
    """What the liars know in a round, updates as rows of values."""

    honest: Float64
    """The updates of the honest sites."""

    own: Float64
    """What the liars' own training gave, one row a liar."""

    last_change: Float64
    """What the last round added to the global model."""

    @property
    def liars(self) -> int:
        """How many sites lie."""
        return len(self.own)

    @property
    def sites(self) -> int:
        """How many sites there are."""
        return len(self.own) + len(self.honest)


Attack = Callable[[Knowledge, np.random.Generator], Float64]


def flip_labels(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return each label ``l`` as ``classes - 1 - l``."""
    return classes - 1 - labels


def add_noise(features: Float64, random: np.random.Generator, deviation: float = 5.0) -> Float64:
    """Return features under noise of several of their standard deviations."""
    return features + random.normal(0, deviation, features.shape)


def add_trigger(features: Float64, value: float = 4.0) -> Float64:
    """Return cases with a backdoor's trigger: the last feature at a value that hardly ever occurs."""
    marked = features.copy()
    marked[..., -1] = value
    return marked


def gauss(known: Knowledge, random: np.random.Generator) -> Float64:
    """Send noise of standard deviation 200 (Blanchard et al. 2017)."""
    return random.normal(0, 200, known.own.shape)


def sign_flip(known: Knowledge, random: np.random.Generator) -> Float64:
    """Send the opposite of the own update."""
    return -known.own


def scaling(known: Knowledge, random: np.random.Generator) -> Float64:
    """Scale an update so that it outweighs all others in a mean (Bagdasaryan et al. 2020); with poisoned data."""
    return known.own * known.sites / known.liars


def krum_attack(known: Knowledge, random: np.random.Generator) -> Float64:
    """Go as far against the mean's signs as Krum still picks a liar (Fang et al. 2020)."""
    direction = -np.sign(known.honest.mean(axis=0))

    def passes(step: float) -> bool:
        rows = np.vstack([np.tile(step * direction, (known.liars, 1)), known.honest])
        scores = krum_scores(squared_distances(rows @ rows.T), known.liars)
        return int(np.argmin(scores)) < known.liars

    return np.tile(_largest(passes, _reach(known)) * direction, (known.liars, 1))


def trim_attack(known: Knowledge, random: np.random.Generator) -> Float64:
    """Send values just beyond the honest extreme on the side away from the mean (Fang et al. 2020)."""
    least, most = known.honest.min(axis=0), known.honest.max(axis=0)
    factor = 1 + random.random(known.own.shape)
    low = np.where(least > 0, least / factor, least * factor)
    high = np.where(most > 0, most * factor, most / factor)
    found: Float64 = np.where(known.honest.mean(axis=0) > 0, low, high)
    return found


def a_little_is_enough(known: Knowledge, random: np.random.Generator) -> Float64:
    """Stay within the honest spread, so many deviations from the mean as go unseen (Baruch et al. 2019)."""
    needed = known.sites // 2 + 1 - known.liars
    deviations = float(norm.ppf((len(known.honest) - needed) / len(known.honest)))
    row = known.honest.mean(axis=0) - deviations * known.honest.std(axis=0)
    return np.tile(row, (known.liars, 1))


def min_max(known: Knowledge, random: np.random.Generator) -> Float64:
    """Be no further from any honest update than two honest ones are apart (Shejwalkar and Houmansadr 2021)."""
    limit = squared_distances(known.honest @ known.honest.T).max()
    return _against_the_mean(known, lambda distances: float(distances.max()) <= float(limit))


def min_sum(known: Knowledge, random: np.random.Generator) -> Float64:
    """Be no further from all honest updates together than an honest one is (Shejwalkar and Houmansadr 2021)."""
    limit = squared_distances(known.honest @ known.honest.T).sum(axis=1).max()
    return _against_the_mean(known, lambda distances: float(distances.sum()) <= float(limit))


def inside_the_radius(known: Knowledge, random: np.random.Generator) -> Float64:
    """Go against the mean as far as the shortest honest update is long.

    The adaptive attack on BALANCE (Fang et al. 2024) with the global model as the reference: what bounds an update's
    distance from it must let the shortest honest one pass.
    """
    mean = known.honest.mean(axis=0)
    length = np.linalg.norm(known.honest, axis=1).min()
    return np.tile(-mean * length / max(float(np.linalg.norm(mean)), 1e-30), (known.liars, 1))


def free_ride(known: Knowledge, random: np.random.Generator) -> Float64:
    """Train nothing: send the last change of the model with a little noise."""
    deviation = 0.1 * float(known.last_change.std())
    return known.last_change + random.normal(0, deviation, known.own.shape)


ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        "gauss": gauss,
        "sign flip": sign_flip,
        "Krum attack": krum_attack,
        "trim attack": trim_attack,
        "ALIE": a_little_is_enough,
        "min-max": min_max,
        "min-sum": min_sum,
        "adaptive": inside_the_radius,
        "free rider": free_ride,
    }
)
"""The attacks on updates that need no poisoned data, by the names of the papers."""


def _against_the_mean(known: Knowledge, allowed: Callable[[NDArray[Any]], bool]) -> Float64:
    mean, direction = known.honest.mean(axis=0), -known.honest.std(axis=0)

    def passes(step: float) -> bool:
        return allowed(np.sum((known.honest - mean - step * direction) ** 2, axis=1))

    return np.tile(mean + _largest(passes, 100.0) * direction, (known.liars, 1))


def _reach(known: Knowledge) -> float:
    return float(np.linalg.norm(known.honest, axis=1).max())


def _largest(passes: Callable[[float], bool], most: float) -> float:
    """Return the largest step that passes, by halving between nought and ``most``; nought where none does."""
    low, high = 0.0, most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low
