"""The objects of the private store as a source of cases, whatever way they came there."""

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from pathlib import Path, PurePosixPath

from silo_node.deidentify.identifiers import Identifiers
from silo_node.deidentify.pixel_risk import TOMOGRAPHIC
from silo_node.intake.dicom_image import read_dicom
from silo_node.intake.external_decoder import DecodableFiles
from silo_node.intake.objects.grouping import CaseObjects, cases_of_study
from silo_node.intake.objects.index import ObjectIndex, ObjectRow, StudyRow
from silo_node.intake.paths import path_identifiers
from silo_node.intake.source import Item, SourceCase
from silo_node.intake.table import annotation_bytes, annotation_identifiers
from silo_node.series.case import LabelSource, is_volume, segmented_series, series_case
from silo_node.state import Home
from silo_node.wire.errors import BadInput


class StoredObjects:
    """The cases of the settled studies in which something is new: single images, and series as volumes."""

    kind = "dicom"
    root = "objects"

    def __init__(self, home: Home, collection: str, external_decoder: Path | None = None) -> None:
        """Find what is pending. ``external_decoder`` is tried on what no decoder here reads."""
        self._index, self._files = ObjectIndex(home), DecodableFiles(home, external_decoder)
        self._collection = collection
        self._studies = self._index.pending(collection)
        self._at_hand: dict[str, CaseObjects] = {}

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def mark_taken(self) -> None:
        """Note that everything :meth:`items` gave is now a case or refused."""
        with self._index.transaction():
            self._index.mark_taken(self._studies)

    def studies(self) -> list[StudyRow]:
        """Return the studies that are read."""
        return self._studies

    def count(self) -> int:
        """Return the number of objects; cases are fewer where series are volumes."""
        return sum(study.objects for study in self._studies)

    def items(self) -> Iterator[Item]:
        """Yield the cases study by study."""
        for study in self._studies:
            cases = cases_of_study(self._index.objects_of_study(study.study, self._collection))
            self._at_hand = {case.item.locator: case for case in cases}
            yield from (case.item for case in cases)

    def shown(self, item: Item) -> str:
        """Return where an image, or the first slice of a series, was when it was taken in."""
        case = self._case(item)
        more = f" and {len(case.rows) - 1} more of its series" if len(case.rows) > 1 else ""
        return f"{case.rows[0].root}/{case.rows[0].place}{more}"

    def row_seal(self, item: Item) -> bytes:
        """Return bytes that change with what a table says about a case."""
        return annotation_bytes(self._case(item).rows[0].annotation)

    def read(self, item: Item) -> SourceCase:
        """Decode an image (:func:`~silo_node.intake.dicom_image.read_dicom`) or a series
        (:func:`~silo_node.series.case.series_case`); what they refuse is refused.
        """
        objects = self._case(item)
        case = self._read(objects)
        more = reduce(Identifiers.__or__, (_row_identifiers(row) for row in objects.rows))
        return replace(case, identifiers=case.identifiers | more)

    def _read(self, objects: CaseObjects) -> SourceCase:
        first = objects.rows[0]
        files = [self._files.read(row) for row in objects.rows]
        if len(files) > 1 or (first.sop_class in TOMOGRAPHIC and is_volume(files[0])):
            case = series_case(files, first.annotation, self._labels(objects))
        else:
            case = replace(read_dicom(files[0], first.annotation), content=bytes.fromhex(first.digest))
        return replace(case, identity=("series", first.series), may_grow=True) if objects.whole_series else case

    def _labels(self, objects: CaseObjects) -> LabelSource | None:
        """Return the label map's source: what the table names, else the one segmentation drawn on the series."""
        first = objects.rows[0]
        named = first.annotation.label_path if first.annotation else None
        if named is not None:
            return self._named_labels(first, named, objects.segmentations)
        drawn = [self._files.read(row) for row in objects.segmentations]
        drawn = [data for data in drawn if first.series in segmented_series(data)]
        if len(drawn) > 1:
            raise BadInput("segmentation-ambiguous")
        return LabelSource(segmentation=drawn[0]) if drawn else None

    def _named_labels(self, first: ObjectRow, named: str, segmentations: tuple[ObjectRow, ...]) -> LabelSource:
        stored = next((row for row in segmentations if row.place == named and row.root == first.root), None)
        if stored is not None:
            return LabelSource(segmentation=self._files.read(stored))
        path = Path(first.root) / named
        if path.is_file() and path.name.endswith((".nii", ".nii.gz")):
            return LabelSource(nifti=path)
        raise BadInput("case-without-label", "the file in column label_path is no segmentation of this study")

    def _case(self, item: Item) -> CaseObjects:
        found = self._at_hand.get(item.locator)
        if found is None:
            raise BadInput("file-missing", "an object is no longer in the private store")
        return found


def _row_identifiers(row: ObjectRow) -> Identifiers:
    folder = PurePosixPath(row.place).parent.as_posix()
    return path_identifiers(row.place) | path_identifiers(folder) | annotation_identifiers(row.annotation)
