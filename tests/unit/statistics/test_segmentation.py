"""Means over cases with patients as the unit, worst scores for failures, and counts that may be told."""

import numpy as np
import pytest

from benchmarks.statistics.cases import MeasuredCases
from benchmarks.statistics.rules import MetricRule
from benchmarks.statistics.segmentation import (
    clustered_mean,
    empty_references,
    failure_counts,
    quantiles,
    scored,
    volume_agreement,
)

from .made_up import cohort, measured

DICE, HD95 = MetricRule("dice", primary=True), MetricRule("hd95", upper=50.0)


def test_one_case_a_patient_is_the_sample_covariance_over_n() -> None:
    values = np.random.default_rng(0).random((3, 40))
    theta, cov = clustered_mean(values, np.arange(40))
    np.testing.assert_allclose(theta, values.mean(axis=1))
    np.testing.assert_allclose(cov, np.cov(values) / 40, rtol=1e-12)


def test_clusters_of_equal_size_are_the_sample_covariance_of_their_means() -> None:
    values = np.random.default_rng(0).random((2, 60))
    _, cov = clustered_mean(values, np.arange(60) // 3)
    np.testing.assert_allclose(cov, np.cov(values.reshape(2, 20, 3).mean(axis=2)) / 20, rtol=1e-12)


class TestWorstScores:
    @pytest.mark.parametrize(("rule", "worst"), [(DICE, 0.0), (HD95, 50.0)], ids=["dice", "hd95"])
    def test_a_failed_case_has_the_worst_score(self, rule: MetricRule, worst: float) -> None:
        cases = measured(30, models=1)
        cases.failed[0, 3] = True
        assert (scored(cases, rule)[0, 3] == worst).all()
        assert (scored(cases, rule)[0, 4] != worst).all()

    def test_an_hd95_over_the_cap_is_the_cap(self) -> None:
        cases = measured(30, models=1)
        cases.values["hd95"][0, 0, 0] = 400.0
        assert scored(cases, HD95)[0, 0, 0] == 50.0

    def test_an_undefined_value_is_the_worst(self) -> None:
        """As from a program that has no HD95 when nothing was predicted."""
        cases = measured(30, models=1)
        cases.values["hd95"][0, 0, 0] = np.nan
        assert scored(cases, HD95)[0, 0, 0] == 50.0


def test_failure_counts_leave_out_the_small_ones() -> None:
    dice = np.array([[0.3] * 4 + [0.9] * 46, [0.3] * 12 + [0.9] * 38, [0.9] * 50])
    found = failure_counts(dice, np.arange(50), (0.5,), minimum=10)
    assert found == ({"below": 0.5, "models": (None, 12, 0)},)


def test_quantiles_are_rounded_to_a_hundredth() -> None:
    assert quantiles(np.linspace(0, 1, 1001)[None]) == ((0.1, 0.25, 0.5, 0.75, 0.9),)


def test_volume_sums_give_bias_and_limits_of_agreement() -> None:
    cases = measured(60, models=2)
    cases.failed[1, :5] = True
    found = volume_agreement(cases, 0, minimum=20, decimals=4)
    difference = (cases.predicted_ml - cases.reference_ml)[0, :, 0]
    assert found[0]["count"] == 60
    assert found[0]["sum_d"] / 60 == pytest.approx(difference.mean(), abs=1e-5)
    assert found[0]["sum_d2"] / 60 == pytest.approx((difference**2).mean(), abs=1e-5)
    assert found[1]["count"] == 55


def test_volumes_of_few_patients_are_not_told() -> None:
    cases = measured(60, models=1, images=10)
    assert volume_agreement(cases, 0, minimum=20, decimals=4)[0] == {"count": 0, "sum_d": 0.0, "sum_d2": 0.0}


@pytest.mark.parametrize(("empty", "told"), [(0, 0), (4, None), (12, 12), (25, None)])
def test_empty_references_are_told_if_neither_they_nor_the_rest_are_few(empty: int, told: int | None) -> None:
    base = measured(30, models=1)
    references = np.zeros((30, 2), dtype=bool)
    references[:empty, 0] = True
    cases = MeasuredCases(
        cohort(None, n=30), base.values, base.predicted_ml, base.reference_ml, references, base.failed
    )
    assert empty_references(cases, 0, minimum=10) == told
