"""Per-case results as they lie at a site: aligned by id, so that no model can choose its cases.

Coverage is enforced here. The cohort says which cases there are; a case a model has no usable answer for counts as
failed and takes the worst score. On MedPerf a model that answers the 10 easy cases of 60 scores 1.00.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.statistics.arrays import Booleans, Floats, Integers

Attributes = Mapping[str, str | None]


class CasesError(ValueError):
    """Per-case results that cannot be the cohort's; ``code`` is a registered problem code."""

    code = "output-invalid"


@dataclass(frozen=True, slots=True)
class ExpectedCase:
    """A case of the frozen cohort. ``label`` is the index of its class, and None for a segmentation."""

    case: str
    patient: str
    label: int | None = None
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Cohort:
    """The n cases every model must answer."""

    cases: tuple[ExpectedCase, ...]

    def __post_init__(self) -> None:
        if len({case.case for case in self.cases}) != len(self.cases):
            raise CasesError("a case is listed twice")

    @cached_property
    def patient(self) -> Integers:
        """The index of each case's patient, 0 to ``patients`` - 1."""
        return np.unique(np.array([case.patient for case in self.cases], dtype=str), return_inverse=True)[1].reshape(-1)

    @property
    def patients(self) -> int:
        return int(self.patient.max(initial=-1)) + 1

    @cached_property
    def label(self) -> Integers:
        """The class of each case; -1 where it has none."""
        return np.array([-1 if case.label is None else case.label for case in self.cases], dtype=np.int64)

    def levels(self, attribute: str) -> tuple[str | None, ...]:
        return tuple(case.attributes.get(attribute) for case in self.cases)

    def subset(self, mask: Booleans) -> "Cohort":
        return Cohort(tuple(case for case, kept in zip(self.cases, mask, strict=True) if kept))


@dataclass(frozen=True, eq=False)
class ScoredCases:
    """Classification: ``scores`` is (m, n, classes) of probabilities, ``failed`` is (m, n)."""

    cohort: Cohort
    scores: Floats
    failed: Booleans

    def __post_init__(self) -> None:
        if self.scores.shape[:2] != self.failed.shape or self.failed.shape[1] != len(self.cohort.cases):
            raise CasesError("scores and cases differ in shape")
        answered = self.scores[~self.failed]
        if not ((answered >= 0) & (answered <= 1)).all():
            raise CasesError("a score is not a probability")
        label = self.cohort.label
        if ((label < 0) | (label >= self.scores.shape[2])).any():
            raise CasesError("a case has no class of the benchmark")

    def subset(self, mask: Booleans) -> "ScoredCases":
        return ScoredCases(self.cohort.subset(mask), self.scores[:, mask], self.failed[:, mask])


@dataclass(frozen=True, eq=False)
class MeasuredCases:
    """Segmentation: each array of ``values`` is (m, n, structures); volumes are in millilitres.

    A value is NaN where there is none; ``segmentation`` gives it the worst score.
    """

    cohort: Cohort
    values: Mapping[str, Floats]
    predicted_ml: Floats
    reference_ml: Floats
    """(n, structures); NaN where no model's answer tells it."""

    empty_reference: Booleans
    """(n, structures)."""

    failed: Booleans

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (*self.values.values(), self.predicted_ml)}
        if len(shapes) != 1 or self.predicted_ml.shape[:2] != self.failed.shape:
            raise CasesError("measurements differ in shape")
        if self.empty_reference.shape != self.predicted_ml.shape[1:] or len(self.cohort.cases) != self.failed.shape[1]:
            raise CasesError("measurements and cases differ in shape")

    def subset(self, mask: Booleans) -> "MeasuredCases":
        return MeasuredCases(
            self.cohort.subset(mask),
            {name: array[:, mask] for name, array in self.values.items()},
            self.predicted_ml[:, mask],
            self.reference_ml[mask],
            self.empty_reference[mask],
            self.failed[:, mask],
        )


def scored_cases(cohort: Cohort, answers: Sequence[Iterable[Mapping[str, Any]]], *, classes: int) -> ScoredCases:
    """Align the score lines of each model with the cohort.

    A line is ``{"case": id, "failed": bool, "scores": [probability of each class]}``. A missing line, a failed one
    and one whose scores are not ``classes`` probabilities all count as failed. Raises ``CasesError`` for a case that
    is not the cohort's or that is answered twice.
    """
    scores = np.zeros((len(answers), len(cohort.cases), classes))
    failed = np.ones(scores.shape[:2], dtype=bool)
    for model, lines in enumerate(answers):
        for place, line in _by_place(cohort, lines):
            vector = np.asarray(line.get("scores") or (), dtype=np.float64)
            if not line.get("failed") and vector.shape == (classes,) and ((vector >= 0) & (vector <= 1)).all():
                scores[model, place], failed[model, place] = vector, False
    return ScoredCases(cohort, scores, failed)


def measured_cases(
    cohort: Cohort,
    answers: Sequence[Iterable[Mapping[str, Any]]],
    *,
    structures: Sequence[str],
    metrics: Sequence[str],
) -> MeasuredCases:
    """Align the measurement lines of each model with the cohort.

    A line is ``{"case": id, "failed": bool, "structures": {label: {metric: value | None, "volume_ml",
    "reference_ml", "empty_reference"}}}``. Missing lines, and lines without every structure, count as failed.
    """
    shape = (len(answers), len(cohort.cases), len(structures))
    values = {metric: np.full(shape, np.nan) for metric in metrics}
    predicted, reference = np.full(shape, np.nan), np.full(shape[1:], np.nan)
    empty, failed = np.zeros(shape[1:], dtype=bool), np.ones(shape[:2], dtype=bool)
    for model, lines in enumerate(answers):
        for place, line in _by_place(cohort, lines):
            measured = line.get("structures") or {}
            failed[model, place] = line.get("failed", False) or any(one not in measured for one in structures)
            for index, structure in enumerate(structures):
                one = measured.get(structure, {})
                for metric in metrics:
                    values[metric][model, place, index] = _number(one.get(metric))
                predicted[model, place, index] = _number(one.get("volume_ml"))
                if "reference_ml" in one:
                    reference[place, index] = _number(one["reference_ml"])
                    empty[place, index] = bool(one.get("empty_reference"))
    return MeasuredCases(cohort, values, predicted, reference, empty, failed)


def _by_place(cohort: Cohort, lines: Iterable[Mapping[str, Any]]) -> Iterable[tuple[int, Mapping[str, Any]]]:
    places = {case.case: place for place, case in enumerate(cohort.cases)}
    for line in lines:
        place = places.pop(line["case"], None)
        if place is None:
            raise CasesError("an answer is for no case of the cohort, or for one that was answered before")
        yield place, line


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
