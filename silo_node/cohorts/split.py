"""Dividing patients into training, validation and test, by keyed hash.

A patient's place depends on the site key, the benchmark's name and the patient, and on nothing else: not on the order
of the cases, not on which other patients there are, not on the day. A patient who comes again next year stays where a
model may have seen them. That is why shares are met on average and not exactly.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from silo_node.wire.benchmarks import SplitSpec
from silo_node.wire.errors import BadInput

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def split_patients(
    declared: Iterable[tuple[str, Split | None]], spec: SplitSpec, draw: Callable[[str], float]
) -> dict[str, Split]:
    """Return the split of each patient.

    ``declared`` holds (patient, the table's split or None) for every case. What the table says of any case of a patient
    counts for all of them. ``draw`` gives a patient's number in [0, 1).

    Raises ``patient-in-two-splits`` where a table contradicts itself: a model would be tested on what it learned.
    """
    said: dict[str, Split | None] = {}
    for patient, split in declared:
        before = said.get(patient)
        if split is not None and before is not None and split != before:
            raise BadInput("patient-in-two-splits")
        said[patient] = split or before
    return {patient: split or _drawn(draw(patient), spec) for patient, split in said.items()}


def _drawn(number: float, spec: SplitSpec) -> Split:
    if number < spec.test:
        return "test"
    return "validation" if number < spec.test + spec.validation else "train"
