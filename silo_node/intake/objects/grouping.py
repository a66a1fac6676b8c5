"""Which objects of a study make one case: a single image, or all slices of a series."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from blake3 import blake3

from silo_node.deidentify.pixel_risk import TOMOGRAPHIC
from silo_node.intake.objects.index import ObjectRow
from silo_node.intake.source import Item
from silo_node.series.segmentation import SEGMENTATION_STORAGE


@dataclass(frozen=True)
class CaseObjects:
    """The objects of one case."""

    rows: tuple[ObjectRow, ...]
    whole_series: bool
    """Whether the case is known by its series: it may come again with more slices."""

    segmentations: tuple[ObjectRow, ...] = ()
    """The study's DICOM segmentations, one of which may have been drawn on this series."""

    @property
    def item(self) -> Item:
        """Where the case is; its stamp changes with any byte of any object."""
        first = self.rows[0]
        if not self.whole_series:
            return Item(first.instance, first.digest)
        digests = "\n".join(sorted(row.digest for row in (*self.rows, *self.segmentations)))
        return Item(f"series/{first.series}", blake3(digests.encode()).hexdigest())


def cases_of_study(rows: Sequence[ObjectRow]) -> list[CaseObjects]:
    """Return the cases of one study.

    The slices of a tomographic series are one case, unless a table says something else of each: then they are images
    somebody has labelled one by one. Every other image is a case of its own.
    """
    ordered = sorted(rows, key=lambda row: (row.series, row.instance))
    segmentations = tuple(row for row in ordered if row.sop_class in SEGMENTATION_STORAGE)
    found: list[CaseObjects] = []
    for _, group in groupby((row for row in ordered if row not in segmentations), key=lambda row: row.series):
        series = tuple(group)
        if _is_stack(series):
            found.append(CaseObjects(series, True, segmentations))
        else:
            found.extend(CaseObjects((row,), False, segmentations) for row in series)
    if not any(case.rows[0].sop_class in TOMOGRAPHIC for case in found):
        # Drawn on nothing that is here: each is refused, and so told.
        found.extend(CaseObjects((row,), False) for row in segmentations)
    return found


def _is_stack(rows: tuple[ObjectRow, ...]) -> bool:
    tomographic = all(row.sop_class in TOMOGRAPHIC for row in rows)
    said = {row.annotation and replace(row.annotation, row=0) for row in rows}
    return tomographic and len(said) == 1
