"""AUROC of m models on the same cases, with the covariance between the models.

The nonparametric estimator of DeLong, DeLong and Clarke-Pearson (Biometrics 1988; 44:837), in the form that allows
several images of a patient (Obuchowski, Biometrics 1997; 53:567): it is DeLong's where every patient has one. Placement
values come from sorted scores, O(n log n) as in Sun and Xu (IEEE Signal Process. Lett. 2014; 21:1389).
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.arrays import Booleans, Floats, Integers
from benchmarks.statistics.quantities import publishes


@dataclass(frozen=True, slots=True, eq=False)
class AurocParts:
    """What each patient contributes to the AUROC of each model: the estimator's influence, by class.

    ``positive`` and ``negative`` are (m, patients): the sums of a patient's placement values less their expectation,
    over the number of images of the class. The three counts are the patients with a positive image, with a negative
    one, and all.
    """

    theta: Floats
    positive: Floats
    negative: Floats
    with_positive: int
    with_negative: int

    @property
    def influence(self) -> Floats:
        return self.positive + self.negative

    @property
    def cov(self) -> Floats:
        """(m, m), positive semi-definite: the mixed factor is the smallest of the three, so squares complete."""
        patients = self.positive.shape[1]
        mixed = _correction(patients) * self.positive @ self.negative.T
        return np.asarray(
            _correction(self.with_positive) * self.positive @ self.positive.T
            + _correction(self.with_negative) * self.negative @ self.negative.T
            + mixed
            + mixed.T
        )


@publishes(
    "auroc",
    title="AUROC",
    formula=(
        "θ = mean over all pairs of a diseased and another case of [s₁ > s₀] + ½ [s₁ = s₀]; cov by DeLong over patients"
    ),
    source="DeLong et al. 1988; Obuchowski 1997; Sun and Xu 2014",
    words="How often a diseased case has the higher score, ties counting half; chance is 0.5.",
)
def auroc(scores: Floats, positive: Booleans, patient: Integers) -> AurocParts:
    """Return the AUROC of each model with its patients' contributions.

    ``scores`` is (m, n), ``positive`` and ``patient`` (index from 0) are (n,). At least two patients must have a
    positive image and two a negative one, else ``ValueError``.
    """
    with_positive, with_negative = (np.unique(patient[part]).size for part in (positive, ~positive))
    if min(with_positive, with_negative) < 2:
        raise ValueError("AUROC needs two patients of each class")
    placed = np.array([_placements(row[positive], row[~positive]) for row in scores])
    count = int(positive.sum())
    of_positives, of_negatives = placed[:, :count], placed[:, count:]
    theta = of_positives.mean(axis=1)
    return AurocParts(
        theta=theta,
        positive=_by_patient(of_positives - theta[:, None], patient[positive], patient.max() + 1) / count,
        negative=_by_patient(of_negatives - theta[:, None], patient[~positive], patient.max() + 1)
        / (positive.size - count),
        with_positive=with_positive,
        with_negative=with_negative,
    )


def _placements(positives: Floats, negatives: Floats) -> Floats:
    """The share of the other class each score is on the right side of, ties counting half; positives first."""
    return np.concatenate(
        [_share_below(positives, np.sort(negatives)), 1.0 - _share_below(negatives, np.sort(positives))]
    )


def _share_below(scores: Floats, others: Floats) -> Floats:
    below = np.searchsorted(others, scores, side="left") + np.searchsorted(others, scores, side="right")
    return np.asarray(below / (2.0 * others.size))


def _by_patient(values: Floats, patient: Integers, patients: int) -> Floats:
    return np.array([np.bincount(patient, weights=row, minlength=patients) for row in values])


def _correction(count: int) -> float:
    return count / (count - 1)
