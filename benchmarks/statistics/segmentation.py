"""Means over cases with their covariance between models, and what else may be told of a segmentation."""

from typing import Any

import numpy as np

from benchmarks.statistics.arrays import Floats, Integers
from benchmarks.statistics.cases import MeasuredCases
from benchmarks.statistics.disclosure import is_small, publishable_cuts
from benchmarks.statistics.quantities import publishes
from benchmarks.statistics.rules import MetricRule

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
QUANTILE_PATIENTS = 50
"""Quantiles of fewer patients lie too near to single patients' values."""


def scored(cases: MeasuredCases, rule: MetricRule) -> Floats:
    """Return a metric of every model, case and structure (m, n, structures), with a score for what has none.

    A failed case has the worst score, and so has a value that is not defined. Values are held within
    [0, ``rule.upper``]; for HD95 that is the declared cap. What an empty reference scores is the measurement's to say:
    by the kit's rule the best if it is left empty, else the worst.
    """
    values = cases.values[rule.name]
    lost = cases.failed[:, :, None] | np.isnan(values)
    return np.asarray(np.where(lost, rule.worst, np.clip(values, 0.0, rule.upper)))


@publishes(
    "dice",
    "nsd",
    "hd95",
    title="Dice, surface Dice, HD95",
    formula="θ = mean over cases; cov = P/(P−1) · Σ_p r_p r_pᵀ / n², r_p a patient's summed residuals",
    source="Cochran 1977, ch. 6; Maier-Hein et al. 2018",
    words="The mean over cases, failures at the worst value; the uncertainty counts patients, not images.",
)
def clustered_mean(values: Floats, patient: Integers) -> tuple[Floats, Floats]:
    """Return the mean over cases (m,) of ``values`` (m, n) and its covariance (m, m), patients as the sampling unit.

    The ratio estimator of cluster sampling (Cochran 1977, ch. 6); the sample covariance over n where every patient
    has one case. Needs two patients.
    """
    theta = values.mean(axis=1)
    residual = np.array([np.bincount(patient, weights=row) for row in values - theta[:, None]])
    patients = residual.shape[1]
    return theta, np.asarray(residual @ residual.T * (patients / (patients - 1) / values.shape[1] ** 2))


def quantiles(values: Floats) -> tuple[tuple[float, ...], ...]:
    """Return the five quantiles of each model, rounded to 0.01."""
    return tuple(tuple(round(float(q), 2) for q in row) for row in np.quantile(values, QUANTILES, axis=1).T)


def failure_counts(
    dice: Floats, patient: Integers, thresholds: tuple[float, ...], *, minimum: int
) -> tuple[dict[str, Any], ...]:
    """Return for each threshold how many cases of each model lie under it; None where the number must not be told."""
    everyone = np.ones(dice.shape[1], dtype=bool)
    told = [publishable_cuts(row, everyone, patient, thresholds, minimum=minimum) for row in dice]
    return tuple(
        {
            "below": below,
            "models": tuple(
                int((row < below).sum()) if below in cuts else None for row, cuts in zip(dice, told, strict=True)
            ),
        }
        for below in thresholds
    )


def volume_agreement(
    cases: MeasuredCases, structure: int, *, minimum: int, decimals: int
) -> tuple[dict[str, Any], ...]:
    """Return for each model the count, sum and sum of squares of predicted less reference volume in millilitres.

    Failed cases have no volume and are left out, as the count tells. Nothing is told of fewer than ``minimum``
    patients.
    """
    difference = cases.predicted_ml[:, :, structure] - cases.reference_ml[:, structure]
    usable = ~cases.failed & np.isfinite(difference)
    return tuple(
        _sums(row[use], int(np.unique(cases.cohort.patient[use]).size), minimum, decimals)
        for row, use in zip(difference, usable, strict=True)
    )


def empty_references(cases: MeasuredCases, structure: int, *, minimum: int) -> int | None:
    """Return how many cases lack the structure; None where that, or how many have it, is of too few patients."""
    empty = cases.empty_reference[:, structure]
    sizes = (np.unique(cases.cohort.patient[part]).size for part in (empty, ~empty))
    return None if any(is_small(size, minimum) for size in sizes) else int(empty.sum())


def _sums(difference: Floats, patients: int, minimum: int, decimals: int) -> dict[str, Any]:
    if patients < minimum:
        return {"count": 0, "sum_d": 0.0, "sum_d2": 0.0}
    # Rounded so that the sums still obey sum(d)^2 <= n sum(d^2), which the hub checks.
    total = round(float(difference.sum()), decimals)
    squares = max(float((difference**2).sum()), total**2 / difference.size)
    return {"count": difference.size, "sum_d": total, "sum_d2": round(squares + 0.5 * 10**-decimals, decimals)}
