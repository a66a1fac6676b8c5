"""Which raw cases belong to a benchmark's cohort: step by step, with the number that went at each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from silo_node.cohorts.query import CohortQuery
from silo_node.cohorts.split import Split
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import BadInput


@dataclass(frozen=True)
class Candidate:
    """What the selection knows of a raw case."""

    case_id: str
    patient: str
    modality: str | None
    label: str | None
    """A class name or index, as the table said."""

    has_label_map: bool
    split: Split | None
    attributes: dict[str, str]
    collection: str = "default"
    spacing_mm: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    """Spatial extents."""

    pixels: str = ""
    """Digest of the image's values and shape; equal for equal pictures."""


@dataclass(frozen=True)
class Chosen:
    """A case of the cohort, its label as an index into the benchmark's labels (None for segmentation)."""

    candidate: Candidate
    label: int | None


@dataclass(frozen=True)
class Step:
    """One step of the selection: what was left out, and what stayed."""

    reason: str
    left_out: int
    cases: int
    """Cases that stayed."""

    patients: int
    """Patients that stayed."""


@dataclass(frozen=True)
class Selection:
    """The chosen cases by id, and how it came to them."""

    chosen: tuple[Chosen, ...]
    steps: tuple[Step, ...]

    @property
    def excluded(self) -> dict[str, int]:
        """How many cases were left out for each reason."""
        return {step.reason: step.left_out for step in self.steps if step.left_out}


Rule = tuple[str, Callable[[Candidate], bool]]


def select(
    candidates: Sequence[Candidate], definition: BenchmarkDefinition, query: CohortQuery | None = None
) -> Selection:
    """Choose the cases the query and the benchmark ask for.

    A case whose source told no modality, as tables may, is taken to be what the site offers it for. Raises
    ``label-unknown`` for a label the benchmark does not have: leaving such cases out quietly would bend the cohort.
    """
    asked = query or CohortQuery()
    left = sorted(candidates, key=lambda case: case.case_id)
    steps = [_step("in-store", left, left)]
    for reason, holds in _rules(definition, asked):
        stay = [case for case in left if holds(case)]
        steps.append(_step(reason, left, stay))
        left = stay
    if asked.one_case_a_patient:
        first = [next(group) for _, group in groupby(sorted(left, key=_by_patient), key=lambda case: case.patient)]
        steps.append(_step("one-case-a-patient", left, first))
        left = sorted(first, key=lambda case: case.case_id)
    return Selection(tuple(Chosen(case, _label_index(case, definition)) for case in left), tuple(steps))


def without_duplicates(selection: Selection, split_of: Callable[[str], Split]) -> Selection:
    """Leave out all but one of the cases that show exactly the same picture.

    A picture in two splits would be learned and then asked for. The one that stays is in the split whose score it would
    spoil: test before validation before training. Where the copies contradict each other in their label, none stays.
    """
    by_pixels: dict[str, list[Chosen]] = {}
    for case in selection.chosen:
        by_pixels.setdefault(case.candidate.pixels or case.candidate.case_id, []).append(case)
    agreed = [group for group in by_pixels.values() if len({case.label for case in group}) == 1]
    order = ("test", "validation", "train")
    kept = [min(group, key=lambda case: (order.index(split_of(case.candidate.patient)), _id(case))) for group in agreed]
    one_each = [case for group in agreed for case in group]
    steps = (
        _step("copies-with-other-labels", _candidates(selection.chosen), _candidates(one_each)),
        _step("duplicate-pixels", _candidates(one_each), _candidates(kept)),
    )
    found = steps if len(kept) < len(selection.chosen) else ()
    return Selection(tuple(sorted(kept, key=_id)), (*selection.steps, *found))


def _rules(definition: BenchmarkDefinition, query: CohortQuery) -> list[Rule]:
    """Return the criteria in their order; ones that were not asked for are not among them."""
    collections, spacing, voxels = query.collections, query.spacing_mm, query.voxels
    rules: list[Rule] = []
    if collections:
        rules.append(("other-collection", lambda case: case.collection in collections))
    rules.append(("other-modality", lambda case: case.modality in (None, definition.modality)))
    rules += [(f"include-{name}", _one_of(name, values)) for name, values in query.include.items()]
    rules += [(f"exclude-{name}", _none_of(name, values)) for name, values in query.exclude.items()]
    if spacing is not None:
        rules.append(("spacing", lambda case: spacing.holds(case.spacing_mm)))
    if voxels is not None:
        rules.append(("size", lambda case: voxels.holds(tuple(float(extent) for extent in case.shape))))
    rules.append(("unlabelled", lambda case: _has_label(case, definition)))
    return rules


def _one_of(name: str, values: tuple[str, ...]) -> Callable[[Candidate], bool]:
    return lambda case: case.attributes.get(name) in values


def _none_of(name: str, values: tuple[str, ...]) -> Callable[[Candidate], bool]:
    return lambda case: case.attributes.get(name) not in values


def _step(reason: str, before: Sequence[Candidate], after: Sequence[Candidate]) -> Step:
    return Step(reason, len(before) - len(after), len(after), len({case.patient for case in after}))


def _candidates(chosen: Sequence[Chosen]) -> list[Candidate]:
    return [case.candidate for case in chosen]


def _by_patient(case: Candidate) -> tuple[str, str]:
    return case.patient, case.case_id


def _id(case: Chosen) -> str:
    return case.candidate.case_id


def _has_label(case: Candidate, definition: BenchmarkDefinition) -> bool:
    return case.has_label_map if definition.task == "segmentation" else case.label is not None


def _label_index(case: Candidate, definition: BenchmarkDefinition) -> int | None:
    if definition.task == "segmentation" or case.label is None:
        return None
    index = int(case.label) if case.label.isdecimal() else _position(case.label, definition.labels)
    if not 0 <= index < len(definition.labels):
        raise BadInput("label-unknown", f"{definition.name} knows {', '.join(definition.labels)}")
    return index


def _position(label: str, labels: Sequence[str]) -> int:
    return labels.index(label) if label in labels else -1
