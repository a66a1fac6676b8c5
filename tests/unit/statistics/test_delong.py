"""AUROC and its covariance, against definitions computed the slow way and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.statistics.bootstrap import bootstrap_covariance
from benchmarks.statistics.classification import one_versus_rest
from benchmarks.statistics.delong import auroc

from .made_up import scored


def by_definition(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong 1988, equations 3 to 5, pair by pair."""
    x, y = scores[:, positive], scores[:, ~positive]
    psi = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    v10, v01 = psi.mean(axis=2), psi.mean(axis=1)
    return psi.mean(axis=(1, 2)), np.cov(v10) / x.shape[1] + np.cov(v01) / y.shape[1]


def obuchowski_by_definition(scores: np.ndarray, positive: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Obuchowski 1997, equations 3 to 7, patient by patient, for two models."""
    models, m, n = len(scores), positive.sum(), (~positive).sum()
    x, y = scores[:, positive], scores[:, ~positive]
    psi = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    theta, v10, v01 = psi.mean(axis=(1, 2)), psi.mean(axis=2), psi.mean(axis=1)
    everyone = np.unique(patient)
    d10 = np.array([[(v10[r, patient[positive] == k] - theta[r]).sum() for k in everyone] for r in range(models)])
    d01 = np.array([[(v01[r, patient[~positive] == k] - theta[r]).sum() for k in everyone] for r in range(models)])
    i10, i01, i = (np.unique(p).size for p in (patient[positive], patient[~positive], patient))
    s10, s01 = i10 / ((i10 - 1) * m) * d10 @ d10.T, i01 / ((i01 - 1) * n) * d01 @ d01.T
    s11 = i / (i - 1) * d10 @ d01.T
    return s10 / m + s01 / n + (s11 + s11.T) / (m * n)


@pytest.mark.parametrize("levels", [4096, 8], ids=["few ties", "many ties"])
def test_one_image_a_patient_is_delongs_estimator(levels: int) -> None:
    view = one_versus_rest(scored(120, models=4), 1)
    scores = np.round(view.ranking * levels) / levels
    found = auroc(scores, view.positive, view.patient)
    theta, cov = by_definition(scores, view.positive)
    np.testing.assert_allclose(found.theta, theta, rtol=1e-12)
    np.testing.assert_allclose(found.cov, cov, rtol=1e-9, atol=1e-15)


def test_auroc_is_scikit_learns() -> None:
    view = one_versus_rest(scored(200, models=3), 1)
    expected = [roc_auc_score(view.positive, row) for row in view.ranking]
    np.testing.assert_allclose(auroc(view.ranking, view.positive, view.patient).theta, expected, rtol=1e-12)


def test_several_images_a_patient_is_obuchowskis_estimator() -> None:
    view = one_versus_rest(scored(120, models=2, images=3), 1)
    found = auroc(view.ranking, view.positive, view.patient)
    expected = obuchowski_by_definition(view.ranking, view.positive, view.patient)
    np.testing.assert_allclose(found.cov, expected, rtol=1e-9)


def test_copying_every_image_of_a_patient_makes_nobody_surer() -> None:
    """Three copies of each image are no more evidence than one; treating images as patients would say so."""
    view = one_versus_rest(scored(100, models=2), 1)
    tripled = [np.repeat(array, 3, axis=-1) for array in (view.ranking, view.positive, view.patient)]
    once, clustered = auroc(view.ranking, view.positive, view.patient), auroc(*tripled)
    np.testing.assert_allclose(clustered.theta, once.theta)
    np.testing.assert_allclose(clustered.cov, once.cov, rtol=1e-9)


def test_the_covariance_is_that_of_resampled_patients() -> None:
    """An independent way to the same number: 4,000 bootstrap resamples within the classes."""
    view = one_versus_rest(scored(150, models=2), 1)
    found = auroc(view.ranking, view.positive, view.patient)
    x, y = view.ranking[:, view.positive], view.ranking[:, ~view.positive]
    right = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])

    def resampled(weights: np.ndarray) -> np.ndarray:
        of_x, of_y = weights[:, view.positive], weights[:, ~view.positive]
        return np.stack([((of_x @ pairs) * of_y).sum(axis=1) for pairs in right], axis=1) / (x.shape[1] * y.shape[1])

    cov = bootstrap_covariance({"auroc": resampled}, view.strata, np.random.default_rng(1), replicates=4000)["auroc"]
    np.testing.assert_allclose(cov, found.cov, rtol=0.15)


def test_one_patient_of_a_class_is_not_enough() -> None:
    positive = np.array([True, True, False, False, False])
    with pytest.raises(ValueError, match="two patients of each class"):
        auroc(np.arange(5.0)[None], positive, np.array([0, 0, 1, 2, 3]))
