"""What may be told: small counts never appear and never follow from what does; rounding keeps a covariance valid."""

import numpy as np
import pytest

from benchmarks.statistics.classification import OneVersusRest
from benchmarks.statistics.disclosure import is_small, publishable_cuts, rounded, withheld_classes
from benchmarks.statistics.histogram import BINS, score_tables


def view_of(positives: list[float], negatives: list[float], *, images: int = 1) -> OneVersusRest:
    scores = np.array(positives + negatives)
    positive = np.arange(scores.size) < len(positives)
    return OneVersusRest(positive, np.arange(scores.size) // images, scores[None], (scores >= 0.5)[None])


@pytest.mark.parametrize(("count", "small"), [(0, False), (1, True), (9, True), (10, False)])
def test_none_may_be_told_and_few_may_not(count: int, small: bool) -> None:
    assert is_small(count, 10) is small


class TestCuts:
    def test_a_cut_is_told_where_both_sides_are_large_enough(self) -> None:
        scores = np.linspace(0.01, 0.99, 40)
        everyone, patient = np.ones(40, dtype=bool), np.arange(40)
        assert publishable_cuts(scores, everyone, patient, [0.1, 0.5, 0.9], minimum=10) == (0.5,)

    def test_two_cuts_with_few_between_them_are_not_both_told(self) -> None:
        """Either count would be fine; their difference is one patient."""
        scores = np.array([0.1] * 20 + [0.45] + [0.9] * 20)
        everyone, patient = np.ones(41, dtype=bool), np.arange(41)
        assert publishable_cuts(scores, everyone, patient, [0.4, 0.5], minimum=10) == (0.4,)

    def test_many_images_of_few_patients_are_few(self) -> None:
        scores = np.repeat([0.1, 0.9], 30)
        everyone = np.ones(60, dtype=bool)
        assert publishable_cuts(scores, everyone, np.arange(60) // 10, [0.5], minimum=10) == ()
        assert publishable_cuts(scores, everyone, np.arange(60) // 2, [0.5], minimum=10) == (0.5,)


class TestScoreTables:
    def test_a_small_cell_takes_all_four_counts_with_it(self) -> None:
        """Three missed positives: with the class sizes known, any other count of the row would tell."""
        view = view_of([0.1] * 3 + [0.9] * 30, [0.1] * 30 + [0.9] * 30)
        point = score_tables(view, 0, (0.5,), minimum=10, decimals=4).points[0]
        assert point["suppressed"]
        assert [point[name] for name in point if name != "suppressed"] == [None] * 4

    def test_counts_are_those_of_the_cases(self) -> None:
        view = view_of([0.1] * 10 + [0.9] * 30, [0.1] * 20 + [0.9] * 15)
        point = score_tables(view, 0, (0.5,), minimum=10, decimals=4).points[0]
        assert point == {
            "suppressed": False,
            "true_positive": 30,
            "false_positive": 15,
            "false_negative": 10,
            "true_negative": 20,
        }

    def test_a_score_at_the_threshold_is_flagged(self) -> None:
        view = view_of([0.5] * 20, [0.2] * 20)
        assert score_tables(view, 0, (0.5,), minimum=10, decimals=4).points[0]["true_positive"] == 20

    def test_bins_are_merged_until_no_class_count_is_small(self) -> None:
        rng = np.random.default_rng(0)
        view = view_of(list(rng.beta(4, 2, 60)), list(rng.beta(2, 4, 90)))
        histogram = score_tables(view, 0, (), minimum=10, decimals=4).histogram
        for name, total in (("positives", 60), ("negatives", 90)):
            assert sum(histogram[name]) == total
            assert not any(is_small(count, 10) for count in histogram[name])
            assert histogram[f"{name}_upper"][-1] == BINS
            assert len(histogram[name]) > 2

    def test_calibration_sums_are_those_of_the_cases(self) -> None:
        rng = np.random.default_rng(1)
        positives, negatives = rng.beta(3, 2, 400), rng.beta(2, 3, 400)
        bins = score_tables(view_of(list(positives), list(negatives)), 0, (), minimum=10, decimals=4).calibration
        edges = np.array([0, *bins["upper"]]) / BINS
        assert len(bins["upper"]) >= 6
        everyone = np.concatenate([positives, negatives])
        assert list(bins["count"]) == np.histogram(everyone, edges)[0].tolist()
        assert list(bins["positives"]) == np.histogram(positives, edges)[0].tolist()
        np.testing.assert_allclose(bins["score_sum"], np.histogram(everyone, edges, weights=everyone)[0], atol=1e-4)


class TestWithheldClasses:
    def test_large_classes_are_told(self) -> None:
        assert withheld_classes([40, 30, 20], 20) == (False, False, False)

    def test_one_small_class_takes_the_next_smallest_with_it(self) -> None:
        """The total is told, so a single missing class would be the total less the rest."""
        assert withheld_classes([40, 3, 25], 20) == (False, True, True)

    def test_two_tiny_classes_take_a_third(self) -> None:
        """Together they would be known to be three."""
        assert withheld_classes([40, 1, 2, 30], 20) == (False, True, True, True)

    def test_an_absent_class_is_not_told_to_be_absent(self) -> None:
        assert withheld_classes([60, 0], 20) == (True, True)


class TestRounding:
    def test_the_estimate_has_the_decimals_and_the_covariance_more(self) -> None:
        theta, cov = rounded(np.array([0.123456]), np.array([[0.000123456789]]), decimals=2)
        assert theta.tolist() == [0.12]
        assert cov[0, 0] == pytest.approx(0.000123456789 + 0.01**2 / 12, abs=1e-6)

    def test_two_equal_models_stay_valid(self) -> None:
        """A singular covariance is where plain rounding breaks."""
        row = np.random.default_rng(0).standard_normal((6, 1)) / 100
        _, cov = rounded(np.full(6, 0.5), row @ row.T, decimals=4)
        assert np.linalg.eigvalsh(cov).min() >= -1e-15

    def test_rounding_adds_no_variance_where_nothing_moved(self) -> None:
        _, cov = rounded(np.array([1.0]), np.array([[0.0]]), decimals=4)
        assert cov[0, 0] == 0.0
