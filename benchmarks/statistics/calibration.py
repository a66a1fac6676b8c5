"""Whether a probability means what it says."""

import numpy as np

from benchmarks.statistics.arrays import Floats
from benchmarks.statistics.bootstrap import Estimator
from benchmarks.statistics.classification import OneVersusRest
from benchmarks.statistics.quantities import publishes

ECE_BINS = 10
"""Equal-mass bins of the expected calibration error (Nixon et al. 2019, arXiv 1904.01685)."""


@publishes(
    "ece",
    title="Expected calibration error",
    formula="θ = Σ_b |mean p − mean y| n_b / n over ten bins of equal numbers of cases",
    source="Nixon et al. 2019",
)
def expected_calibration_error(view: OneVersusRest, *, bins: int = ECE_BINS) -> Estimator:
    """Mean over cases of |mean probability - share of positives| within bins of equal numbers of cases.

    The edges are quantiles of each model's own scores, so equal scores share a bin and a model that gives one score to
    all has one bin. Resamples keep the edges.
    """
    probability = view.probability
    excess = probability - view.positive
    sums = np.zeros((view.patients, len(probability), bins))
    for model, row in enumerate(probability):
        inner = np.quantile(row, np.arange(1, bins) / bins)
        np.add.at(sums[:, model], (view.patient, np.searchsorted(inner, row, side="right")), excess[model])
    flat = sums.reshape(view.patients, -1)
    images = np.bincount(view.patient, minlength=view.patients).astype(np.float64)

    def estimate(weights: Floats) -> Floats:
        gaps = np.abs(weights @ flat).reshape(len(weights), len(probability), bins).sum(axis=2)
        return np.asarray(gaps / (weights @ images)[:, None])

    return estimate
