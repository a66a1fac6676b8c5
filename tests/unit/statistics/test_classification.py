"""The metrics of a classifier and their bootstrapped covariance, against scikit-learn and closed forms."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, brier_score_loss

from benchmarks.statistics.bootstrap import bootstrap_covariance, plain
from benchmarks.statistics.calibration import expected_calibration_error
from benchmarks.statistics.cases import ScoredCases
from benchmarks.statistics.classification import auprc, balanced_accuracy, brier, mean_over, one_versus_rest

from .made_up import cohort, scored


def test_plain_estimates_are_scikit_learns() -> None:
    view = one_versus_rest(scored(250, models=3), 1)
    for make, reference in (
        (auprc, average_precision_score),
        (brier, brier_score_loss),
        (balanced_accuracy, lambda y, p: balanced_accuracy_score(y, p >= 0.5)),
    ):
        expected = [reference(view.positive, row) for row in view.probability]
        np.testing.assert_allclose(plain(make(view), view.patients), expected, rtol=1e-12)


def test_weighted_estimates_are_those_of_a_resample_written_out() -> None:
    """What a replicate computes is the metric on the drawn patients, all their images included."""
    view = one_versus_rest(scored(90, models=2, images=2), 1)
    weights = np.random.default_rng(3).integers(0, 4, size=(5, view.patients)).astype(float)
    for make, reference in ((auprc, average_precision_score), (brier, brier_score_loss)):
        found = make(view)(weights)
        for replicate, row in enumerate(weights):
            index = np.repeat(np.arange(90), row.astype(int)[view.patient])
            expected = [reference(view.positive[index], p[index]) for p in view.probability]
            np.testing.assert_allclose(found[replicate], expected, rtol=1e-12)


def test_equal_scores_do_not_depend_on_the_order_of_cases() -> None:
    labels, scores = np.array([1, 0, 1, 0, 0, 1]), np.array([0.5, 0.5, 0.5, 0.5, 0.2, 0.9])
    for order in (np.arange(6), np.arange(6)[::-1]):
        probabilities = np.stack([1 - scores[order], scores[order]], axis=1)[None]
        view = one_versus_rest(ScoredCases(cohort(labels[order]), probabilities, np.zeros((1, 6), bool)), 1)
        expected = average_precision_score(labels, scores)
        assert plain(auprc(view), 6)[0] == pytest.approx(expected)


def test_a_failed_case_has_the_worst_of_every_metric() -> None:
    """A failure is worse than any answer: under every negative, wrong at every threshold, squared error 1."""
    labels = np.array([0, 1] * 20)
    confident = np.where(labels[:, None] == [0, 1], 1.0, 0.0)
    failed = np.zeros((1, 40), dtype=bool)
    failed[0, :2] = True
    view = one_versus_rest(ScoredCases(cohort(labels), confident[None], failed), 1)
    assert plain(brier(view), 40)[0] == pytest.approx(2 / 40)
    assert plain(balanced_accuracy(view), 40)[0] == pytest.approx(19 / 20)
    assert view.ranking[0, 1] < view.ranking[0, ~view.positive].min()
    assert view.ranking[0, 0] > view.ranking[0, view.positive].max()


def test_one_of_several_classes_is_chosen_by_its_highest_score() -> None:
    """With five classes no score need reach one half."""
    scores = np.array([[[0.3, 0.25, 0.45], [0.4, 0.35, 0.25], [0.2, 0.5, 0.3]]])
    cases = ScoredCases(cohort([2, 0, 1]), scores, np.zeros((1, 3), dtype=bool))
    assert [one_versus_rest(cases, index).chosen[0].tolist() for index in range(3)] == [
        [False, True, False],
        [False, False, True],
        [True, False, False],
    ]


class TestCalibration:
    def test_expected_calibration_error_by_hand(self) -> None:
        """Ten cases in each of two bins, 0.2 and 0.6, of which 3 and 6 are positive: (|2 - 3| + |6 - 6|) / 20."""
        scores = np.repeat([0.2, 0.6], 10)
        labels = np.array([1] * 3 + [0] * 7 + [1] * 6 + [0] * 4)
        cases = ScoredCases(cohort(labels), np.stack([1 - scores, scores], 1)[None], np.zeros((1, 20), bool))
        found = plain(expected_calibration_error(one_versus_rest(cases, 1), bins=2), 20)
        assert found[0] == pytest.approx(1 / 20)

    def test_bins_hold_equal_numbers_of_cases(self) -> None:
        """Written out for distinct scores: sort, cut into ten equal parts, compare the means."""
        rng = np.random.default_rng(5)
        scores, labels = rng.permutation(np.linspace(0.01, 0.99, 200)), rng.integers(0, 2, 200)
        order = np.argsort(scores).reshape(10, 20)
        expected = np.mean([abs(scores[part].mean() - labels[part].mean()) for part in order])
        cases = ScoredCases(cohort(labels), np.stack([1 - scores, scores], 1)[None], np.zeros((1, 200), bool))
        assert plain(expected_calibration_error(one_versus_rest(cases, 1)), 200)[0] == pytest.approx(expected)

    def test_one_score_for_all_is_one_bin(self) -> None:
        labels = np.array([1] * 10 + [0] * 30)
        scores = np.full((1, 40, 2), 0.5)
        view = one_versus_rest(ScoredCases(cohort(labels), scores, np.zeros((1, 40), bool)), 1)
        assert plain(expected_calibration_error(view), 40)[0] == pytest.approx(0.25)


class TestBootstrap:
    def test_the_covariance_of_a_mean_is_the_sample_covariance_over_n(self) -> None:
        view = one_versus_rest(scored(300, models=3), 1)
        errors = (view.probability - view.positive) ** 2
        cov = bootstrap_covariance({"b": brier(view)}, np.zeros(300, int), np.random.default_rng(0), replicates=4000)
        np.testing.assert_allclose(cov["b"], np.cov(errors) / 300, rtol=0.12)

    def test_patients_are_drawn_whole(self) -> None:
        """Ten copies of each image must not shrink the variance tenfold."""
        view = one_versus_rest(scored(400, models=1, images=10), 1)
        same = np.repeat(np.random.default_rng(1).random(40), 10)[None]
        labels = np.tile([1, 0], 200)
        cases = ScoredCases(cohort(labels, images=10), np.stack([1 - same, same], 2), np.zeros((1, 400), bool))
        view = one_versus_rest(cases, 1)
        by_patient = ((view.probability - view.positive) ** 2).reshape(40, 10).mean(axis=1)
        cov = bootstrap_covariance({"b": brier(view)}, np.zeros(40, int), np.random.default_rng(0), replicates=4000)
        assert cov["b"][0, 0] == pytest.approx(by_patient.var() / 40, rel=0.12)

    def test_strata_keep_the_number_of_patients_of_each_class(self) -> None:
        strata, seen = np.array([1] * 5 + [2] * 20), []

        def count(weights: np.ndarray) -> np.ndarray:
            seen.append(weights)
            return weights[:, :1]

        bootstrap_covariance({"count": count}, strata, np.random.default_rng(0), replicates=50)
        drawn = np.concatenate(seen)
        assert (drawn[:, :5].sum(axis=1) == 5).all()
        assert (drawn[:, 5:].sum(axis=1) == 20).all()

    def test_the_same_generator_gives_the_same_covariance(self) -> None:
        view = one_versus_rest(scored(100), 1)
        first, second = (
            bootstrap_covariance({"a": auprc(view)}, view.strata, np.random.default_rng(7))["a"] for _ in range(2)
        )
        assert np.array_equal(first, second)

    def test_a_macro_average_is_resampled_jointly(self) -> None:
        cases = scored(200, models=2, classes=3)
        views = [one_versus_rest(cases, index) for index in range(3)]
        estimators = [brier(view) for view in views]
        weights = np.random.default_rng(0).integers(0, 3, (4, 200)).astype(float)
        expected = sum(estimator(weights) for estimator in estimators) / 3
        np.testing.assert_allclose(mean_over(estimators)(weights), expected)
