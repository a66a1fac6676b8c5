"""One class against the rest: the metrics of a classifier as functions of how often each patient counts."""

from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.arrays import Booleans, Floats, Integers
from benchmarks.statistics.bootstrap import Estimator
from benchmarks.statistics.cases import ScoredCases
from benchmarks.statistics.quantities import publishes

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class OneVersusRest:
    """The cases as one class sees them. Arrays over models are (m, n); a failed case has the worst score.

    ``ranking`` puts failed positives under and failed negatives above every score there can be, so that a failure is
    never tied with an answer; ``probability`` is the same within [0, 1].
    """

    positive: Booleans
    patient: Integers
    ranking: Floats
    chosen: Booleans
    """Whether the model decides for the class."""

    @property
    def probability(self) -> Floats:
        return np.clip(self.ranking, 0.0, 1.0)

    @property
    def patients(self) -> int:
        return int(self.patient.max(initial=-1)) + 1

    @property
    def strata(self) -> Integers:
        """For each patient: 1 with positive images, 2 with negative ones, 3 with both."""
        strata = np.zeros(self.patients, dtype=np.int64)
        strata[self.patient[self.positive]] |= 1
        strata[self.patient[~self.positive]] |= 2
        return strata


def one_versus_rest(cases: ScoredCases, index: int, *, threshold: float = DEFAULT_THRESHOLD) -> OneVersusRest:
    """Return class ``index`` against the rest.

    A binary model decides for the class at ``threshold`` or more; one of several classes for its highest score (the
    first of equal ones). A failed case is decided wrongly.
    """
    positive = cases.cohort.label == index
    ranking = np.where(cases.failed, np.where(positive, -1.0, 2.0), cases.scores[:, :, index])
    binary = cases.scores.shape[2] == 2
    chosen = ranking >= threshold if binary else cases.scores.argmax(axis=2) == index
    return OneVersusRest(positive, cases.cohort.patient, ranking, np.where(cases.failed, ~positive, chosen))


@publishes(
    "brier",
    title="Brier score",
    formula="θ = mean (p − y)²; cov by bootstrap over patients",
    source="Brier 1950",
)
def brier(view: OneVersusRest) -> Estimator:
    """Mean squared difference between the probability and what was (Brier, Mon. Weather Rev. 1950; 78:1)."""
    return _mean((view.probability - view.positive) ** 2, view.patient)


@publishes(
    "balanced_accuracy",
    title="Balanced accuracy",
    formula="θ = ½ (TP / (TP + FN) + TN / (TN + FP)) at the first declared threshold",
    source="Metrics Reloaded 2024",
)
def balanced_accuracy(view: OneVersusRest) -> Estimator:
    """Mean of sensitivity and specificity."""
    right = view.chosen == view.positive
    sensitivity = _mean(right[:, view.positive], view.patient[view.positive], view.patients)
    specificity = _mean(right[:, ~view.positive], view.patient[~view.positive], view.patients)
    return lambda weights: (sensitivity(weights) + specificity(weights)) / 2


@publishes(
    "auprc",
    title="AUPRC",
    formula="θ = Σ (Rₖ − Rₖ₋₁) Pₖ over distinct scores",
    source="Davis and Goadrich 2006",
)
def auprc(view: OneVersusRest) -> Estimator:
    """Average precision: precision at each distinct score, weighted by the step in recall. No interpolation."""
    curves = [_RecallSteps.of(row, view.positive) for row in view.ranking]

    def estimate(weights: Floats) -> Floats:
        cases = weights[:, view.patient]
        return np.stack([curve.average_precision(cases) for curve in curves], axis=1)

    return estimate


@dataclass(frozen=True, slots=True, eq=False)
class _RecallSteps:
    """One model's cases by falling score, and the ends of those runs of equal scores that hold a positive."""

    order: Integers
    positives: Integers
    ends: Integers
    positives_by_end: Integers

    @classmethod
    def of(cls, scores: Floats, positive: Booleans) -> "_RecallSteps":
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
        found = positive[order].cumsum()[ends]
        steps = np.diff(found, prepend=0) > 0
        return cls(order, order[positive[order]], ends[steps], found[steps])

    def average_precision(self, weights: Floats) -> Floats:
        flagged = weights[:, self.order].cumsum(axis=1)[:, self.ends]
        hits = weights[:, self.positives].cumsum(axis=1)[:, self.positives_by_end - 1]
        precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
        steps = np.diff(hits, axis=1, prepend=0.0)
        return np.asarray(np.einsum("be,be->b", precision, steps) / hits[:, -1])


def mean_over(estimators: list[Estimator]) -> Estimator:
    """The macro average of one metric over classes, resampled jointly."""
    return lambda weights: np.asarray(np.mean([estimator(weights) for estimator in estimators], axis=0))


def _mean(values: Floats | Booleans, patient: Integers, patients: int | None = None) -> Estimator:
    size = patients or int(patient.max(initial=-1)) + 1
    sums = np.array([np.bincount(patient, weights=row, minlength=size) for row in values]).T
    images = np.bincount(patient, minlength=size).astype(np.float64)
    return lambda weights: (weights @ sums) / (weights @ images)[:, None]
