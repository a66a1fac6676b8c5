"""Taking in a source: read, de-identify, check, store, book; refuse with a reason what cannot be used.

Run again, an intake goes on where it stopped, killed or not: what is booked and unchanged is not read again, and what
was refused is tried again, since a decoder may have been installed meanwhile.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from silo_node.catalogue import CaseRow, Catalogue, ItemRow, QuarantineRow
from silo_node.deidentify.known import KnownCase, KnownIdentifiers
from silo_node.deidentify.pseudonyms import Pseudonyms, load_or_create_site_key
from silo_node.intake.objects.inbox import Inbox, Progress, Received
from silo_node.intake.objects.index import ObjectIndex
from silo_node.intake.objects.source import ObjectSource
from silo_node.intake.objects.stored import StoredObjects
from silo_node.intake.places import Places
from silo_node.intake.raw_case import RawCase, raw_case
from silo_node.intake.room import full_disk_is_told
from silo_node.intake.source import Item, Source, SourceCase
from silo_node.intake.store import RawStore, exclusive
from silo_node.state import Home
from silo_node.wire.errors import BadInput, ConfigError, MedSiloError

GROUP_CASES = 128
GROUP_BYTES = 64 * 2**20
GROUP_SECONDS = 2.0
"""A group of cases is flushed and booked when it reaches one of these; so much is done again after a kill."""


@dataclass(frozen=True)
class IntakeRules:
    """What the site decides about an intake."""

    collection: str = "default"
    """The name the new cases are kept under, from which cohorts are built."""

    allowed_risks: frozenset[str] = frozenset()
    """Coded pixel risks (:data:`~silo_node.deidentify.pixel_risk.RISKS`) the policy lets through."""

    quota_bytes: int | None = None
    """The most that all DICOM objects in the private store may have together; None is no bound."""

    external_decoder: Path | None = None
    """A program for what no decoder here reads; see :mod:`silo_node.intake.external_decoder`."""


@dataclass
class IntakeReport:
    """Counts of what became of the items."""

    received: Received = field(default_factory=Received)
    """What became of DICOM objects on their way into the private store, before they were turned into cases."""

    added: int = 0
    updated: int = 0
    """Known images with another label, split or attribute than before."""

    unchanged: int = 0
    """Items whose case was there already, from an earlier run or from another file."""

    quarantined: Counter[str] = field(default_factory=Counter)
    """Refused objects and items by code."""

    def add(self, more: "IntakeReport") -> None:
        """Count another run's cases as well."""
        self.added += more.added
        self.updated += more.updated
        self.unchanged += more.unchanged
        self.quarantined += more.quarantined

    def add_received(self, received: Received) -> None:
        """Count what was delivered before the cases were taken in."""
        self.received = received
        self.quarantined += received.refused


def take_in(
    home: Home,
    source: Source,
    rules: IntakeRules,
    *,
    progress: Progress = lambda done, total: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> IntakeReport:
    """Take in every case a source has.

    Raises ``state-locked`` while another intake runs, ``config-missing`` when there are cases but the site key is
    gone, ``disk-full``. What is wrong with a single item is not raised: it is quarantined.
    """
    home.create()
    with exclusive(home), Catalogue(home.catalogue) as catalogue, full_disk_is_told(home):
        intake = _Intake(home, catalogue, _pseudonyms(home, catalogue), source, rules, now)
        try:
            _take_all(intake, source, progress)
        finally:
            intake.close()
        return intake.report


def take_in_objects(
    home: Home, source: ObjectSource, rules: IntakeRules, *, progress: Progress = lambda done, total: None
) -> IntakeReport:
    """Take in every DICOM object a source has, then the cases of all studies that are complete.

    Raises what :func:`take_in` does, ``quota-exceeded``, and what stops the source, such as ``pacs-unreachable``.
    """
    received = deliver(home, source, rules, progress=progress)
    report = take_in_settled(home, rules, progress=progress)
    report.add_received(received)
    return report


def deliver(
    home: Home, source: ObjectSource, rules: IntakeRules, *, progress: Progress = lambda done, total: None
) -> Received:
    """Bring a source's objects into the private store, without turning them into cases."""
    with full_disk_is_told(home), contextlib.closing(inbox_of(home, source, rules, progress)) as inbox:
        source.deliver(inbox)
        return inbox.received


def take_in_settled(home: Home, rules: IntakeRules, *, progress: Progress = lambda done, total: None) -> IntakeReport:
    """Take in the cases of the settled studies in which something is new, whatever way they came."""
    with contextlib.closing(StoredObjects(home.create(), rules.collection, rules.external_decoder)) as stored:
        report = take_in(home, stored, rules, progress=progress)
        stored.mark_taken()
        return report


def retry(home: Home, rules: IntakeRules, *, progress: Progress = lambda done, total: None) -> IntakeReport:
    """Try everything in the private store again that was refused, in every collection: a decoder or a rule is new."""
    with ObjectIndex(home.create()) as index:
        index.reconsider()
        collections = index.collections()
    whole = IntakeReport()
    for collection in collections:
        whole.add(take_in_settled(home, replace(rules, collection=collection), progress=progress))
    return whole


def inbox_of(
    home: Home, source: ObjectSource, rules: IntakeRules, progress: Progress = lambda done, total: None
) -> Inbox:
    """Open the inbox for one source; raises ``config-missing`` as :func:`take_in` does."""
    home.create()
    with Catalogue(home.catalogue) as catalogue:
        pseudonyms = _pseudonyms(home, catalogue)
    return Inbox(
        home,
        pseudonyms,
        kind=source.kind,
        root=source.root,
        collection=rules.collection,
        by_quiet=source.by_quiet,
        quota_bytes=rules.quota_bytes,
        progress=progress,
    )


def _take_all(intake: "_Intake", source: Source, progress: Progress) -> None:
    total = source.count()
    for done, item in enumerate(source.items()):
        progress(done, total)
        intake.take(item)
    intake.book()
    progress(total, total)


def _pseudonyms(home: Home, catalogue: Catalogue) -> Pseudonyms:
    if not home.site_key_file.exists() and catalogue.count_cases():
        raise ConfigError("config-missing", "private/site.key is gone; restore it, or patients get second pseudonyms")
    return Pseudonyms(load_or_create_site_key(home.site_key_file))


class _Intake:
    """One run over one source, with the group of cases that is not booked yet."""

    def __init__(
        self,
        home: Home,
        catalogue: Catalogue,
        pseudonyms: Pseudonyms,
        source: Source,
        rules: IntakeRules,
        now: Callable[[], datetime],
    ) -> None:
        self.report = IntakeReport()
        self._catalogue, self._pseudonyms = catalogue, pseudonyms
        self._source, self._rules, self._now = source, rules, now
        self._store, self._places, self._known = RawStore(home), Places(home), KnownIdentifiers(home)
        self._labelled_now: set[str] = set()
        self._new_group()

    def close(self) -> None:
        self._places.close()
        self._known.close()

    def take(self, item: Item) -> None:
        """Take in one item, or quarantine it."""
        locator = self._pseudonyms.locator(self._source.kind, self._source.root, item.locator)
        state = "\0".join((self._rules.collection, item.stamp)).encode() + self._source.row_seal(item)
        seal = self._pseudonyms.seal("item", state)
        known = self._catalogue.item(locator)
        if known is not None and known.stamp == seal and item.stamp:
            self._count_unchanged(known)
            return
        try:
            self._read(item, locator, seal)
        except MedSiloError as error:
            self._refuse(item, locator, error.code)
        if self._group_is_full():
            self.book()

    def book(self) -> None:
        """Bring the group to the disk, then into the catalogue: booked means complete."""
        self._store.publish()
        self._places.put(self._refused_places)
        self._known.put(self._said)
        with self._catalogue.transaction():
            for case in self._cases.values():
                self._catalogue.put_case(case, self._now())
            for item in self._items:
                self._catalogue.put_item(item)
            for refusal in self._refusals:
                self._catalogue.put_quarantine(refusal, self._now())
        self._new_group()

    def _read(self, item: Item, locator: str, seal: str) -> None:
        case = self._source.read(item)
        refused = case.risks - self._rules.allowed_risks
        if refused:
            self._refuse(item, locator, "pixel-risk", refused)
            return
        raw = raw_case(case, self._pseudonyms)
        self._keep(case, raw)
        self._said[raw.case_id] = KnownCase(case.identifiers, case.risks)
        self._items.append(ItemRow(locator, seal, raw.case_id))

    def _keep(self, case: SourceCase, raw: RawCase) -> None:
        """Add a new case, or compare it with the one there is.

        An image found again without a label keeps the label it has; with another label it gets that one, unless this
        run has given it one already.
        """
        row = self._row(case, raw)
        known = self._cases.get(raw.case_id) or self._catalogue.case(raw.case_id)
        other_bytes = known is not None and known.content != row.content
        if other_bytes and not case.may_grow:
            raise BadInput("duplicate-conflict")
        if known is None:
            self.report.added += 1
        elif not other_bytes and (known.record == row.record or not raw.labelled):
            self.report.unchanged += 1
            return
        elif raw.case_id in self._labelled_now:
            raise BadInput("table-duplicate-key")
        else:
            self.report.updated += 1
        self._add(row, raw)

    def _add(self, row: CaseRow, raw: RawCase) -> None:
        self._store.add(raw.case_id, raw.files)
        self._cases[raw.case_id] = row
        self._bytes += sum(map(len, raw.files.values()))
        if raw.labelled:
            self._labelled_now.add(raw.case_id)

    def _row(self, case: SourceCase, raw: RawCase) -> CaseRow:
        return CaseRow(
            case_id=raw.case_id,
            patient=raw.patient,
            collection=self._rules.collection,
            source=self._source.kind,
            modality=case.modality,
            content=self._pseudonyms.seal("content", case.content),
            record=self._pseudonyms.seal("record", raw.record),
            labelled=raw.labelled,
        )

    def _refuse(self, item: Item, locator: str, code: str, reasons: frozenset[str] = frozenset()) -> None:
        self.report.quarantined[code] += 1
        self._refusals.append(QuarantineRow(locator, self._source.kind, code, tuple(sorted(reasons))))
        self._refused_places[locator] = self._source.shown(item)

    def _count_unchanged(self, known: ItemRow) -> None:
        self.report.unchanged += 1
        case = self._catalogue.case(known.case_id)
        if case is not None and case.labelled:
            self._labelled_now.add(known.case_id)

    def _group_is_full(self) -> bool:
        size = len(self._cases) + len(self._refusals) + len(self._items)
        late = time.monotonic() - self._begun > GROUP_SECONDS
        return size >= GROUP_CASES or self._bytes >= GROUP_BYTES or (size > 0 and late)

    def _new_group(self) -> None:
        self._cases: dict[str, CaseRow] = {}
        self._items: list[ItemRow] = []
        self._said: dict[str, KnownCase] = {}
        self._refusals: list[QuarantineRow] = []
        self._refused_places: dict[str, str] = {}
        self._bytes = 0
        self._begun = time.monotonic()
