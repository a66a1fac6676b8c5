"""Covariance of any metric by resampling patients, done at the site and never sent but as that covariance.

Replicates would disclose every case: with a known stream, 400 of them gave back 180 patients' Dice to 2e-13. So the
replicates stay in this function and the seed is the site's secret.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from benchmarks.statistics.arrays import Floats, Integers

Estimator = Callable[[Floats], Floats]
"""From weights of patients (b, patients), how often each was drawn, to the metric of each model (b, m)."""

REPLICATES = 1000
_CELLS_AT_ONCE = 100_000


def plain(estimator: Estimator, patients: int) -> Floats:
    """Return the estimate (m,) itself: every patient once."""
    return np.asarray(estimator(np.ones((1, patients)))[0])


def bootstrap_covariance(
    estimators: Mapping[str, Estimator], strata: Integers, rng: np.random.Generator, *, replicates: int = REPLICATES
) -> dict[str, Floats]:
    """Return the covariance (m, m) of each estimator over resamples of the patients within ``strata`` (patients,).

    All estimators see the same resamples. One stratum for all is the ordinary bootstrap; with the classes as strata
    each resample keeps the number of patients of each class, as the AUROC's covariance does.
    """
    drawn: dict[str, list[Floats]] = {name: [] for name in estimators}
    for weights in _resamples(strata, rng, replicates):
        for name, estimator in estimators.items():
            drawn[name].append(estimator(weights))
    return {name: np.atleast_2d(np.cov(np.concatenate(parts), rowvar=False)) for name, parts in drawn.items()}


def _resamples(strata: Integers, rng: np.random.Generator, replicates: int) -> Iterator[Floats]:
    chunk = max(1, _CELLS_AT_ONCE // max(1, strata.size))
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        weights = np.zeros((size, strata.size))
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            weights[:, members] = _draw(members.size, size, rng)
        yield weights


def _draw(members: int, size: int, rng: np.random.Generator) -> Floats:
    chosen = rng.integers(members, size=(size, members)) + members * np.arange(size)[:, None]
    return np.bincount(chosen.reshape(-1), minlength=size * members).reshape(size, members).astype(np.float64)
