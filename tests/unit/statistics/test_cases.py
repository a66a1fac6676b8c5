"""Aligning answers with the cohort: no model chooses its cases."""

import numpy as np
import pytest

from benchmarks.statistics.cases import CasesError, Cohort, ExpectedCase, measured_cases, scored_cases
from benchmarks.statistics.estimate import classification_estimates

from .made_up import BINARY, rules_of

COHORT = Cohort(tuple(ExpectedCase(f"c{index}", f"p{index}", index % 2) for index in range(60)))


def line(index: int, score: float) -> dict[str, object]:
    return {"case": f"c{index}", "failed": False, "scores": [1 - score, score]}


def perfect(indices: range) -> list[dict[str, object]]:
    return [line(index, 0.9 if index % 2 else 0.1) for index in indices]


class TestScoredCases:
    def test_answering_ten_easy_cases_of_sixty_is_not_a_perfect_score(self) -> None:
        """A model that answers only what it knows fails on the rest and ranks them worst."""
        cases = scored_cases(COHORT, [perfect(range(60)), perfect(range(10))], classes=2)
        metrics = classification_estimates(cases, rules_of(BINARY), rng=np.random.default_rng(0))[0]["metrics"]
        everything, ten_easy = metrics[0]["theta"]
        assert everything == 1.0
        # 5 of 30 positives and 5 of 30 negatives are placed right; a failed pair is wrong, not half right.
        assert ten_easy == pytest.approx(5 / 30 * 5 / 30, abs=1e-4)

    def test_order_of_lines_does_not_matter(self) -> None:
        lines = perfect(range(60))
        forward, backward = (scored_cases(COHORT, [part], classes=2) for part in (lines, lines[::-1]))
        assert np.array_equal(forward.scores, backward.scores)

    @pytest.mark.parametrize("scores", [[float("nan"), 0.5], [0.5], [0.2, 0.3, 0.5], [-0.1, 1.1], None], ids=str)
    def test_scores_that_are_no_probabilities_are_a_failure(self, scores: list[float] | None) -> None:
        lines = [*perfect(range(59)), {"case": "c59", "failed": False, "scores": scores}]
        assert scored_cases(COHORT, [lines], classes=2).failed[0].tolist() == [False] * 59 + [True]

    def test_a_failed_line_is_a_failure_even_with_scores(self) -> None:
        lines = [line(0, 0.4) | {"failed": True}]
        assert scored_cases(COHORT, [lines], classes=2).failed.all()

    @pytest.mark.parametrize("lines", [[line(60, 0.5)], [line(1, 0.5), line(1, 0.6)]], ids=["foreign", "twice"])
    def test_a_case_that_is_not_the_cohorts_or_comes_twice_is_refused(self, lines: list[dict[str, object]]) -> None:
        with pytest.raises(CasesError):
            scored_cases(COHORT, [lines], classes=2)

    def test_a_cohort_cannot_list_a_case_twice(self) -> None:
        with pytest.raises(CasesError):
            Cohort((ExpectedCase("c0", "p0", 0), ExpectedCase("c0", "p1", 1)))


class TestMeasuredCases:
    def test_missing_cases_and_structures_count_as_failed(self) -> None:
        one = {"dice": 0.9, "volume_ml": 2.0, "reference_ml": 2.1, "empty_reference": False}
        lines = [
            {"case": "c0", "failed": False, "structures": {"a": one, "b": one | {"dice": None}}},
            {"case": "c1", "failed": False, "structures": {"a": one}},
        ]
        cases = measured_cases(COHORT, [lines], structures=("a", "b"), metrics=("dice",))
        assert cases.failed[0].tolist() == [False] + [True] * 59
        assert cases.values["dice"][0, 0, 0] == 0.9
        assert np.isnan(cases.values["dice"][0, 0, 1])
        assert cases.reference_ml[0].tolist() == [2.1, 2.1]
