"""Dividing patients into training, validation and test: by patient, stratified, and the same every time.

Within a stratum, such as the patients of one class, patients stand in the order of a keyed hash of the site key, the
benchmark's name and the patient; the first share is for test, the next for validation. A rare class therefore has its
share of the test as well. The order of the cases and the day make no difference, and nobody without the site key can
tell where a patient is.

A patient who comes again next year stays where a model may have seen them: what was drawn before is kept, and only new
patients are drawn, to bring the shares back to what was declared.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from silo_node.wire.benchmarks import SplitSpec
from silo_node.wire.errors import BadInput

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def split_patients(
    declared: Iterable[tuple[str, Split | None]],
    spec: SplitSpec,
    draw: Callable[[str], float],
    *,
    strata: Mapping[str, str] | None = None,
    earlier: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Return the split of each patient.

    ``declared`` holds (patient, the table's split or None) for every case. What the table says of any case of a patient
    counts for all of them. ``draw`` gives a patient's number in [0, 1), ``strata`` the stratum of each, ``earlier`` the
    splits that were drawn before.

    Raises ``patient-in-two-splits`` where a table contradicts itself: a model would be tested on what it learned.
    """
    said: dict[str, Split | None] = {}
    for patient, split in declared:
        before = said.get(patient)
        if split is not None and before is not None and split != before:
            raise BadInput("patient-in-two-splits")
        said[patient] = split or before
    by_stratum: dict[str, list[str]] = {}
    for patient, split in said.items():
        if split is None:
            by_stratum.setdefault((strata or {}).get(patient, ""), []).append(patient)
    drawn: dict[str, Split] = {}
    for patients in by_stratum.values():
        drawn |= _share_out(patients, spec, draw, earlier or {})
    return {patient: split or drawn[patient] for patient, split in said.items()}


def _share_out(
    patients: list[str], spec: SplitSpec, draw: Callable[[str], float], earlier: Mapping[str, Split]
) -> dict[str, Split]:
    """Divide the patients of one stratum; those drawn before stay, and count."""
    wanted = {"test": round(len(patients) * spec.test)}
    wanted["validation"] = round(len(patients) * min(1.0, spec.test + spec.validation)) - wanted["test"]
    found: dict[str, Split] = {patient: earlier[patient] for patient in patients if patient in earlier}
    for before in found.values():
        if before in wanted:
            wanted[before] -= 1
    for patient in sorted((patient for patient in patients if patient not in found), key=lambda one: (draw(one), one)):
        split: Split = "test" if wanted["test"] > 0 else "validation" if wanted["validation"] > 0 else "train"
        found[patient] = split
        if split in wanted:
            wanted[split] -= 1
    return found
