"""Where every object arrives: read its header, keep it once, refuse it with a reason, and remember what came.

Objects are brought to the disk and into the index in groups, so that a folder costs one flush for many files; a sender
that waits for an answer gets one after its object alone was flushed. What is killed in between is delivered again.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from silo_node.catalogue import Catalogue, QuarantineRow
from silo_node.deidentify.pseudonyms import Pseudonyms
from silo_node.intake.dicom_image import read_dicom
from silo_node.intake.objects.files import ObjectFiles
from silo_node.intake.objects.header import ObjectHeader, read_header
from silo_node.intake.objects.index import ObjectIndex, ObjectRow
from silo_node.intake.places import Places
from silo_node.intake.room import full_disk_is_told
from silo_node.intake.source import Annotation, Item
from silo_node.intake.table import annotation_bytes
from silo_node.state import Home
from silo_node.wire.errors import BadInput, MedSiloError

GROUP_OBJECTS = 256
GROUP_BYTES = 64 * 2**20
GROUP_SECONDS = 2.0
"""A group of objects is flushed and booked when it reaches one of these."""

Progress = Callable[[int, int], None]
"""Called with the items done and the items there are, 0 where nobody knows."""


@dataclass
class Received:
    """Counts of what became of the objects that were delivered."""

    new: int = 0
    known: int = 0
    """Objects that were there already, with the same bytes."""

    refused: Counter[str] = field(default_factory=Counter)
    """By code."""


@dataclass(frozen=True)
class _Arrival:
    item: Item
    header: ObjectHeader
    row: ObjectRow
    replaces: ObjectRow | None
    """The damaged object that this one takes the place of."""


class Inbox:
    """The one entrance of the private store for the objects of one source. For several threads."""

    def __init__(
        self,
        home: Home,
        pseudonyms: Pseudonyms,
        *,
        kind: str,
        root: str,
        collection: str,
        by_quiet: bool = False,
        quota_bytes: int | None = None,
        progress: Progress = lambda done, total: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the store for a source.

        ``by_quiet`` is for a source that cannot say when a study is complete: its studies settle once they are quiet.
        ``quota_bytes`` bounds all objects together; None is no bound.
        """
        self.received = Received()
        self._home = home
        self._kind, self._root, self._collection = kind, root, collection
        self._by_quiet = by_quiet
        self._pseudonyms, self.progress, self._clock = pseudonyms, progress, clock
        self._lock = threading.RLock()
        self._index, self._files = ObjectIndex(home), ObjectFiles(home)
        self._catalogue, self._places = Catalogue(home.catalogue, shared=True), Places(home, shared=True)
        self._quota, self._kept = quota_bytes, self._index.bytes_kept() if quota_bytes is not None else 0
        self._studies: set[tuple[str, str]] = set()
        self._labels: dict[str, int] = {}
        self._new_group()

    def close(self) -> None:
        """Book what is left and close; the studies of this delivery stay as settled as they are."""
        with self._lock:
            try:
                self.book()
            finally:
                self._index.close()
                self._catalogue.close()
                self._places.close()

    def take_each(
        self,
        items: Iterable[Item],
        fetch: Callable[[Item], bytes],
        annotation: Callable[[Item], Annotation | None] = lambda item: None,
        *,
        total: int = 0,
    ) -> None:
        """Fetch and keep each item's object; an item whose stamp is known is not fetched again.

        An item that ``fetch`` or the store refuses with :class:`BadInput` is quarantined with the reason. Raises
        ``quota-exceeded``, and what ``fetch`` raises besides.
        """
        for done, item in enumerate(items):
            self.progress(done, total)
            try:
                self._take(item, fetch, annotation(item))
            except BadInput as refusal:
                self.refuse(item, refusal.code)
            self._book_when_full()
        self.book()
        self.progress(total, total)

    def receive(self, item: Item, data: bytes, *, instance: str) -> None:
        """Keep an object whose sender waits: it is on the disk and booked when this returns.

        Raises :class:`BadInput` for an object that is refused, which is quarantined by then, such as
        ``image-invalid`` for one that is not the announced ``instance``; ``quota-exceeded``, ``disk-full``.
        """
        with self._lock, full_disk_is_told(self._home):
            try:
                self._keep(item, data, None, announced=instance)
            except BadInput as refusal:
                self.refuse(item, refusal.code)
                raise
            finally:
                self.book()

    def pass_by(self, item: Item) -> None:
        """Note that a place without an object of its own, such as an archive, is not refused any more."""
        with self._lock:
            self._passed.append(item)

    def refuse(self, item: Item, code: str) -> None:
        """Quarantine a place of the source."""
        with self._lock:
            self.received.refused[code] += 1
            locator = self._locator(item)
            self._refusals[locator] = QuarantineRow(locator, self._kind, code, ())
            self._refused_places[locator] = f"{self._root}/{item.locator}"

    def known_instances(self, study: str) -> frozenset[str]:
        """Return the SOP Instance UIDs that are here of a study, so that they need not be fetched again."""
        with self._lock:
            self.book()
            return self._index.known_instances(study)

    def count_known(self, study: str, objects: int) -> None:
        """Count objects of a study that the source need not send, since they are here."""
        with self._lock:
            self.received.known += objects
            if objects:
                self._studies.add((study, self._collection))

    def settle_delivered(self, *, complete: bool = True) -> None:
        """Mark the studies settled of which something was delivered since the last call: there is no more of them.

        With ``complete`` false, something of them could not be had, so they wait for another delivery.
        """
        with self._lock:
            self.book()
            if complete:
                with self._index.transaction():
                    self._index.settle_studies(sorted(self._studies))
            self._studies.clear()

    def settle_quiet(self, quiet_seconds: float) -> int:
        """Mark the studies settled of which nothing came for a while; return how many."""
        with self._lock:
            return self._index.settle(quiet_since=self._clock() - quiet_seconds)

    def book(self) -> None:
        """Bring the group to the disk, then into the index: what is booked is complete."""
        with self._lock:
            try:
                self._files.publish()
                with self._index.transaction():
                    self._index_group()
                self._drop_replaced()
                self._book_refusals()
            except BaseException:
                self._files.drop_unpublished()
                self._kept -= self._bytes
                raise
            finally:
                self._new_group()

    def _take(self, item: Item, fetch: Callable[[Item], bytes], annotation: Annotation | None) -> None:
        known = self._known(item)
        if known is None:
            self._keep(item, fetch(item), annotation)
        else:
            self._again(item, known, annotation)

    def _keep(self, item: Item, data: bytes, annotation: Annotation | None, announced: str | None = None) -> None:
        header = read_header(data)
        if announced is not None and announced != header.instance:
            raise BadInput("image-invalid", "its SOP Instance UID is not the announced one")
        with self._lock:
            present = self._present(header.instance)
            if present is None:
                self._add(item, header, data, annotation)
            elif present.digest == header.digest:
                self._again(item, present, annotation)
            elif not _is_sound(data):
                raise BadInput("file-undecodable")
            elif self._is_sound_here(present):
                raise BadInput("duplicate-conflict")
            else:
                self._replace(present, item, header, data, annotation)

    def _add(
        self,
        item: Item,
        header: ObjectHeader,
        data: bytes,
        annotation: Annotation | None,
        replaces: ObjectRow | None = None,
    ) -> None:
        if self._quota is not None and self._kept + len(data) > self._quota:
            raise MedSiloError("quota-exceeded", "the private store's quota for DICOM objects is used up")
        self._note_label(header.instance, annotation)
        self._files.write(header.digest, data)
        self._kept += len(data)
        self._bytes += len(data)
        row = self._row(item, header, len(data), annotation)
        self._arrivals[header.instance] = _Arrival(item, header, row, replaces)

    def _replace(
        self, damaged: ObjectRow, item: Item, header: ObjectHeader, data: bytes, annotation: Annotation | None
    ) -> None:
        """Take the good one of two files that claim one UID, and quarantine the place of the other."""
        self._add(item, header, data, annotation, replaces=damaged)
        self.refuse(Item(damaged.place, ""), "file-undecodable")

    def _row(self, item: Item, header: ObjectHeader, size: int, annotation: Annotation | None) -> ObjectRow:
        return ObjectRow(
            instance=header.instance,
            series=header.series,
            study=header.study,
            patient=header.patient,
            sop_class=header.sop_class,
            transfer_syntax=header.transfer_syntax,
            modality=header.modality,
            digest=header.digest,
            size=size,
            collection=self._collection,
            source=self._kind,
            root=self._root,
            place=item.locator,
            annotation=annotation,
        )

    def _again(self, item: Item, present: ObjectRow, annotation: Annotation | None) -> None:
        with self._lock:
            self._note_label(present.instance, annotation)
            self._repeated.append((item, present, annotation))

    def _note_label(self, instance: str, annotation: Annotation | None) -> None:
        """Refuse an object that the table labels twice, in different ways, through two of its files."""
        if annotation is None or (annotation.label is None and annotation.label_path is None):
            return
        said = hash(annotation_bytes(annotation))
        if self._labels.setdefault(instance, said) != said:
            raise BadInput("table-duplicate-key")

    def _known(self, item: Item) -> ObjectRow | None:
        with self._lock:
            known = self._index.place(self._locator(item)) if item.stamp else None
            return self._index.find(known[1]) if known is not None and known[0] == item.stamp else None

    def _present(self, instance: str) -> ObjectRow | None:
        arrived = self._arrivals.get(instance)
        return arrived.row if arrived is not None else self._index.find(instance)

    def _is_sound_here(self, present: ObjectRow) -> bool:
        self.book()
        return _is_sound(self._files.read(present))

    def _index_group(self) -> None:
        now = self._clock()
        for arrival in self._arrivals.values():
            header = arrival.header
            if self._lost_a_race(arrival):
                self._files.remove(header.digest)
                self.refuse(arrival.item, "duplicate-conflict")
                continue
            self._index.put(
                arrival.row,
                study_date=header.study_date,
                accession=header.accession,
                at=now,
                by_quiet=self._by_quiet,
            )
            if arrival.replaces is not None:
                self._index.drop_places(header.instance)
            self._index.put_place(self._locator(arrival.item), arrival.item.stamp, header.instance)
            self._studies.add((arrival.row.study, arrival.row.collection))
            self.received.new += arrival.replaces is None
        for item, row, annotation in self._repeated:
            self._index.annotate(row, annotation)
            self._index.came_again(row, at=now)
            self._index.put_place(self._locator(item), item.stamp, row.instance)
            self._studies.add((row.study, row.collection))
            self.received.known += 1

    def _lost_a_race(self, arrival: _Arrival) -> bool:
        """Tell whether another process has meanwhile kept other bytes under the same UID."""
        present = self._index.find(arrival.header.instance)
        expected = {arrival.header.digest, arrival.replaces.digest if arrival.replaces else ""}
        return present is not None and present.digest not in expected

    def _drop_replaced(self) -> None:
        for arrival in self._arrivals.values():
            if arrival.replaces is not None:
                self._files.remove(arrival.replaces.digest)

    def _book_refusals(self) -> None:
        kept = [self._locator(arrival.item) for arrival in self._arrivals.values()]
        kept += [self._locator(item) for item, _, _ in self._repeated]
        kept += [self._locator(item) for item in self._passed]
        self._places.put(self._refused_places)
        with self._catalogue.transaction():
            for locator in kept:
                self._catalogue.drop_quarantine(locator)
            for refusal in self._refusals.values():
                self._catalogue.put_quarantine(refusal, datetime.fromtimestamp(self._clock(), UTC))

    def _locator(self, item: Item) -> str:
        return self._pseudonyms.locator(self._kind, self._root, item.locator)

    def _book_when_full(self) -> None:
        with self._lock:
            size = len(self._arrivals) + len(self._repeated) + len(self._refusals)
            late = time.monotonic() - self._begun > GROUP_SECONDS
            if size >= GROUP_OBJECTS or self._bytes >= GROUP_BYTES or (size and late):
                self.book()

    def _new_group(self) -> None:
        self._arrivals: dict[str, _Arrival] = {}
        self._repeated: list[tuple[Item, ObjectRow, Annotation | None]] = []
        self._passed: list[Item] = []
        self._refusals: dict[str, QuarantineRow] = {}
        self._refused_places: dict[str, str] = {}
        self._bytes = 0
        self._begun = time.monotonic()


def _is_sound(data: bytes) -> bool:
    """Tell whether an object's image decodes. Asked only when two files claim one UID, so that a damaged copy that
    came first does not keep out the good one."""
    try:
        read_dicom(data, None)
    except BadInput as refusal:
        return refusal.code not in ("file-undecodable", "not-dicom")
    return True
