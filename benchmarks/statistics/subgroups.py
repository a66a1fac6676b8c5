"""Which subgroups a site may report: large enough, and leaving nothing small to be worked out by subtraction."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.arrays import Booleans, Integers
from benchmarks.statistics.cases import Cohort

_LEVEL = re.compile(r"^[a-z0-9][a-z0-9+-]{0,19}$")


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One level of a declared attribute, the cases that have it, and whether it may be reported."""

    attribute: str
    level: str
    mask: Booleans
    reported: bool


def reportable_levels(cohort: Cohort, attributes: Sequence[str], *, minimum: int) -> tuple[Level, ...]:
    """Return every level found, marking those that may be reported.

    A group may be reported if each class has ``minimum`` patients in it. That is not enough: means over a group and
    over all cases give the mean over the rest. So the cases in no reported level of an attribute must be none, or such
    a group themselves, and so must the cases in which two reported groups differ.
    """
    reported = [np.ones(len(cohort.cases), dtype=bool)]
    found: list[Level] = []
    for attribute in attributes:
        masks = _levels(cohort, attribute)
        kept = _kept(cohort, masks, reported, minimum)
        reported += [masks[level] for level in kept]
        found += [Level(attribute, level, mask, level in kept) for level, mask in masks.items()]
    return tuple(found)


def _levels(cohort: Cohort, attribute: str) -> dict[str, Booleans]:
    values = [value.lower() if value else "" for value in cohort.levels(attribute)]
    names = sorted({value for value in values if _LEVEL.match(value)})
    return {name: np.array([value == name for value in values], dtype=bool) for name in names}


def _kept(cohort: Cohort, masks: dict[str, Booleans], reported: list[Booleans], minimum: int) -> list[str]:
    """Drop the smallest level again and again until what is left may be told."""
    kept = sorted(
        (level for level, mask in masks.items() if _tellable(cohort, mask, minimum)),
        key=lambda level: (-int(masks[level].sum()), level),
    )
    kept = [level for level in kept if all(_none_or_tellable(cohort, masks[level] ^ o, minimum) for o in reported)]
    while kept and not _none_or_tellable(cohort, ~np.any([masks[level] for level in kept], axis=0), minimum):
        kept.pop()
    return kept


def _none_or_tellable(cohort: Cohort, mask: Booleans, minimum: int) -> bool:
    return not mask.any() or _tellable(cohort, mask, minimum)


def _tellable(cohort: Cohort, mask: Booleans, minimum: int) -> bool:
    return all(
        _patients(cohort.patient, mask & (cohort.label == label)) >= minimum for label in np.unique(cohort.label)
    )


def _patients(patient: Integers, mask: Booleans) -> int:
    return int(np.unique(patient[mask]).size)
