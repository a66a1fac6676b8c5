"""Subgroups: large enough, and nothing small left over when they are subtracted."""

import pytest

from benchmarks.statistics.cases import Cohort, ExpectedCase
from benchmarks.statistics.subgroups import reportable_levels


def cohort_of(*groups: tuple[int, int, dict[str, str | None]]) -> Cohort:
    """Groups of (negatives, positives, attributes)."""
    labelled = [(label, attributes) for n, p, attributes in groups for label in [0] * n + [1] * p]
    return Cohort(
        tuple(ExpectedCase(f"c{i}", f"p{i}", label, attributes) for i, (label, attributes) in enumerate(labelled))
    )


def reported(cohort: Cohort, *attributes: str) -> list[str]:
    return [level.level for level in reportable_levels(cohort, attributes, minimum=20) if level.reported]


def test_two_large_levels_are_both_reported() -> None:
    assert reported(cohort_of((40, 40, {"sex": "f"}), (40, 40, {"sex": "m"})), "sex") == ["f", "m"]


@pytest.mark.parametrize(("n", "p"), [(5, 5), (40, 3), (3, 40)])
def test_a_small_level_takes_the_other_with_it(n: int, p: int) -> None:
    """All cases less the reported level would be the small one."""
    assert reported(cohort_of((90, 90, {"sex": "f"}), (n, p, {"sex": "m"})), "sex") == []


def test_of_three_levels_the_smallest_is_given_up_to_hide_a_small_one() -> None:
    cohort = cohort_of((90, 90, {"maker": "ge"}), (30, 30, {"maker": "siemens"}), (2, 2, {"maker": "canon"}))
    assert reported(cohort, "maker") == ["ge"]


def test_cases_of_unknown_level_count_as_left_over() -> None:
    assert reported(cohort_of((90, 90, {"sex": "f"}), (2, 2, {"sex": None})), "sex") == []
    assert reported(cohort_of((90, 90, {"sex": "f"}), (30, 30, {"sex": None})), "sex") == ["f"]


def test_groups_that_differ_in_few_patients_are_not_both_reported() -> None:
    """The women and the cases of one maker, but for one woman: the difference of the two means is hers."""
    cohort = cohort_of(
        (50, 50, {"sex": "f", "maker": "ge"}),
        (1, 0, {"sex": "f", "maker": "siemens"}),
        (50, 50, {"sex": "m", "maker": "siemens"}),
    )
    assert reported(cohort, "sex", "maker") == ["f", "m"]


def test_every_level_is_listed_reported_or_not() -> None:
    levels = reportable_levels(cohort_of((90, 90, {"sex": "F"}), (2, 2, {"sex": "M"})), ["sex"], minimum=20)
    assert [(level.level, level.reported) for level in levels] == [("f", False), ("m", False)]
