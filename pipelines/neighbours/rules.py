"""How far a site moves towards each neighbour's model: pure rules over distances, losses and the round.

Every rule makes the next model ``own + sum(pull[j] * (model[j] - own))``, so a rule is only its pulls. Distances are L2
over the parameters; buffers never count, since a running variance says nothing of where a model is going.
"""

from dataclasses import dataclass
from math import exp, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pulls = NDArray[np.float64]
"""One weight a neighbour, nought for a neighbour that is not listened to; their sum is at most one."""


@dataclass(frozen=True)
class Surroundings:
    """What a site knows of its neighbours' models in a round, in the order of the neighbours."""

    distances: NDArray[np.float64]
    """``|model[j] - own|``; infinite for a model that is not finite."""

    own_length: float
    """``|own|``."""

    progress: float
    """The round divided by the number of rounds, in (0, 1]."""

    own_loss: float = 0.0
    losses: NDArray[np.float64] | None = None
    """On the site's own validation cases; None where the rule did not ask for them."""

    @property
    def count(self) -> int:
        """How many neighbours have sent a model."""
        return len(self.distances)

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Distances as a share of the own model's length."""
        return self.distances / max(self.own_length, 1e-30)


class NeighbourRule(Protocol):
    """A choice of pulls."""

    def pulls(self, around: Surroundings) -> Pulls:
        """Return the pull towards each neighbour."""
        ...


@dataclass(frozen=True)
class Gossip:
    """The plain mean of the own model and the neighbours'; one neighbour can move it anywhere."""

    def pulls(self, around: Surroundings) -> Pulls:
        """Return one over the number of models; a model that is not finite is left out."""
        return np.isfinite(around.distances) / (around.count + 1.0)


@dataclass(frozen=True)
class Balance:
    """BALANCE (Fang et al., CCS 2024): listen to whoever is near enough for one's own length and the time.

    Neighbour ``j`` is accepted where ``|model[j] - own| <= gamma * exp(-kappa * progress) * |own|``; the next model is
    ``alpha * own + (1 - alpha) * mean(accepted)``, or the own one where nobody is.
    """

    gamma: float
    kappa: float = 1.0
    alpha: float = 0.5

    def pulls(self, around: Surroundings) -> Pulls:
        """Return equal pulls towards the accepted."""
        radius = self.gamma * exp(-self.kappa * around.progress)
        return _shared(around.ratios <= radius, 1 - self.alpha)


@dataclass(frozen=True)
class Ubar:
    """UBAR (Guo et al. 2021): of the nearest, those whose model does no worse on one's own cases.

    ``honest`` is the share of neighbours taken to be honest. Where none does as well, the best of the nearest counts.
    """

    honest: float
    alpha: float = 0.5

    def pulls(self, around: Surroundings) -> Pulls:
        """Return equal pulls towards the chosen; raises ``ValueError`` without losses."""
        if around.losses is None:
            raise ValueError("UBAR needs each neighbour's loss")
        nearest = _nearest(around.distances, max(1, round(self.honest * around.count)))
        chosen = nearest & (around.losses <= around.own_loss)
        if not chosen.any() and nearest.any():
            chosen[np.argmin(np.where(nearest, around.losses, np.inf))] = True
        return _shared(chosen, 1 - self.alpha)


@dataclass(frozen=True)
class SelfCentredClipping:
    """SCCLIP (He, Karimireddy and Jaggi 2022): move towards everybody, but nowhere further than the radius.

    The radius is the paper's for ``liars`` neighbours: ``tau**2 = sum(W * d**2 over the honest) / (W * liars)``, where
    the honest are taken to be the nearest ``n - liars``.
    """

    liars: int

    def pulls(self, around: Surroundings) -> Pulls:
        """Return the clipped pulls."""
        weight = 1 / (around.count + 1)
        nearest = np.sort(around.distances)[: max(around.count - self.liars, 0)]
        nearest = nearest[np.isfinite(nearest)]
        radius = sqrt(float(nearest @ nearest) / self.liars) if self.liars else np.inf
        near = np.maximum(around.distances, 1e-30)
        return np.where(np.isfinite(near), weight * np.minimum(1.0, radius / near), 0.0)


def observed_gamma(ratios: NDArray[np.float64], margin: float = 1.5) -> float:
    """Return a gamma for BALANCE from the distances seen in a first round, before the decay.

    The margin times the median of the finite ratios, which fewer than half of the neighbours cannot move further than
    an honest one is. A fixed gamma fits one architecture: a pretrained network hardly moves, and 0.3 of its length
    would accept anything.
    """
    finite = ratios[np.isfinite(ratios)]
    return margin * float(np.median(finite)) if len(finite) else 0.0


def _shared(accepted: NDArray[np.bool_], share: float) -> Pulls:
    return np.where(accepted, share / max(int(accepted.sum()), 1), 0.0)


def _nearest(distances: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Mark the ``count`` nearest finite ones; of equals the first."""
    marked = np.zeros(len(distances), dtype=bool)
    marked[np.argsort(distances, kind="stable")[:count]] = True
    return marked & np.isfinite(distances)
