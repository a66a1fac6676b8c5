"""The objects of the private store as a source of cases, whatever way they came there."""

from collections.abc import Iterator
from dataclasses import replace

from silo_node.intake.dicom_image import read_dicom
from silo_node.intake.objects.files import ObjectFiles
from silo_node.intake.objects.index import ObjectIndex, ObjectRow, StudyRow
from silo_node.intake.paths import path_identifiers
from silo_node.intake.source import Item, SourceCase
from silo_node.intake.table import annotation_bytes, annotation_identifiers
from silo_node.state import Home
from silo_node.wire.errors import BadInput


class StoredObjects:
    """The images of the settled studies in which something is new. One image is one case."""

    kind = "dicom"
    root = "objects"

    def __init__(self, home: Home, collection: str) -> None:
        self._index, self._files = ObjectIndex(home), ObjectFiles(home)
        self._collection = collection
        self._studies = self._index.pending(collection)
        self._at_hand: dict[str, ObjectRow] = {}

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
        """Return the number of images."""
        return sum(study.objects for study in self._studies)

    def items(self) -> Iterator[Item]:
        """Yield the images study by study."""
        for study in self._studies:
            rows = self._index.objects_of_study(study.study, self._collection)
            self._at_hand = {row.instance: row for row in rows}
            yield from (Item(row.instance, row.digest) for row in rows)

    def shown(self, item: Item) -> str:
        """Return where an image was when it was taken in."""
        row = self._row(item)
        return f"{row.root}/{row.place}"

    def row_seal(self, item: Item) -> bytes:
        """Return bytes that change with what a table says about an image."""
        return annotation_bytes(self._row(item).annotation)

    def read(self, item: Item) -> SourceCase:
        """Decode one image; see :func:`~silo_node.intake.dicom_image.read_dicom` for what is refused."""
        row = self._row(item)
        case = read_dicom(self._files.read(row), row.annotation)
        more = path_identifiers(row.place) | annotation_identifiers(row.annotation)
        return replace(case, content=bytes.fromhex(row.digest), identifiers=case.identifiers | more)

    def _row(self, item: Item) -> ObjectRow:
        row = self._at_hand.get(item.locator) or self._index.find(item.locator)
        if row is None:
            raise BadInput("file-missing", "an object is no longer in the private store")
        return row
