"""Which raw cases belong to a benchmark's cohort, and how many were left out at each step."""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Chosen:
    """A case of the cohort, its label as an index into the benchmark's labels (None for segmentation)."""

    candidate: Candidate
    label: int | None


@dataclass(frozen=True)
class Selection:
    """The chosen cases by id, and how many were left out for each reason."""

    chosen: tuple[Chosen, ...]
    excluded: dict[str, int]


def select(candidates: Sequence[Candidate], definition: BenchmarkDefinition) -> Selection:
    """Choose the cases of the benchmark's modality that have what its task needs.

    A case whose source told no modality, as tables may, is taken to be what the site offers it for. Raises
    ``label-unknown`` for a label the benchmark does not have: leaving such cases out quietly would bend the cohort.
    """
    fitting = [case for case in candidates if case.modality in (None, definition.modality)]
    labelled = [case for case in fitting if _has_label(case, definition)]
    chosen = (Chosen(case, _label_index(case, definition)) for case in labelled)
    excluded = {"other-modality": len(candidates) - len(fitting), "unlabelled": len(fitting) - len(labelled)}
    return Selection(tuple(sorted(chosen, key=lambda case: case.candidate.case_id)), excluded)


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
