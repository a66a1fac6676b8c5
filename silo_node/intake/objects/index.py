"""The index of the objects in the private store, by study and series, in one SQLite file.

It holds the source's own UIDs and patient numbers, so it lies in ``private/`` beside the objects; the node's catalogue,
outside, holds none of them. A study is *settled* when its source says it is complete or, where no source can say so,
when nothing came for a quiet time; and *pending* when something came since it was last turned into cases.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from silo_node.intake.source import Annotation
from silo_node.state import Home

BUSY_SECONDS = 30.0
ARRIVING, SETTLED, INCOMPLETE = 0, 1, -1
"""How the index spells it: settles by quiet, is settled, or settles only when its source has delivered all of it."""

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  instance TEXT PRIMARY KEY, series TEXT NOT NULL, study TEXT NOT NULL, patient TEXT NOT NULL, sop_class TEXT NOT NULL,
  transfer_syntax TEXT NOT NULL, modality TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
  collection TEXT NOT NULL, source TEXT NOT NULL, root TEXT NOT NULL, place TEXT NOT NULL,
  annotation TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_series ON objects (series);
CREATE INDEX IF NOT EXISTS objects_by_study ON objects (study);
CREATE TABLE IF NOT EXISTS studies (
  study TEXT NOT NULL, collection TEXT NOT NULL, patient TEXT NOT NULL, modality TEXT NOT NULL,
  study_date TEXT NOT NULL, accession TEXT NOT NULL, objects INTEGER NOT NULL, bytes INTEGER NOT NULL,
  arrived REAL NOT NULL, settled INTEGER NOT NULL, revision INTEGER NOT NULL, taken INTEGER NOT NULL,
  PRIMARY KEY (study, collection)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS studies_by_state ON studies (settled, arrived);
CREATE INDEX IF NOT EXISTS studies_pending ON studies (collection, study) WHERE settled = 1 AND taken < revision;
CREATE INDEX IF NOT EXISTS studies_by_date ON studies (study_date, study);
CREATE INDEX IF NOT EXISTS studies_by_modality ON studies (collection, modality, study_date, study, objects, bytes);
CREATE INDEX IF NOT EXISTS studies_by_patient ON studies (patient);
CREATE TABLE IF NOT EXISTS places (
  place TEXT PRIMARY KEY, stamp TEXT NOT NULL, instance TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS places_by_instance ON places (instance);
"""


@dataclass(frozen=True)
class ObjectRow:
    """One object in the private store."""

    instance: str
    series: str
    study: str
    patient: str
    """Patient ID of the header; empty where it has none."""

    sop_class: str
    transfer_syntax: str
    modality: str
    digest: str
    """See :class:`~silo_node.intake.objects.header.ObjectHeader`; also the name of its file."""

    size: int
    collection: str
    source: str
    """The kind of source it came by."""

    root: str
    """Where its source is."""

    place: str
    """Where it was at its source: a path below the root, a peer. Private, and searched for in the output."""

    annotation: Annotation | None = None
    """What a table beside the source said about it."""


@dataclass(frozen=True)
class StudyRow:
    """One study of one collection."""

    study: str
    collection: str
    patient: str
    modality: str
    """Of the object that came first."""

    study_date: str
    accession: str
    objects: int
    bytes: int
    arrived: float
    """When its last object came, in seconds since 1970."""

    settled: bool
    revision: int
    """Grows whenever something about the study changes."""

    taken: int
    """The revision that was last turned into cases."""


@dataclass(frozen=True)
class StudyFilter:
    """Which studies to list; absent means any. Dates are YYYYMMDD, both ends included."""

    collection: str | None = None
    modality: str | None = None
    patient: str | None = None
    since: str | None = None
    until: str | None = None
    settled: bool | None = None


class ObjectIndex:
    """One connection to ``private/objects.sqlite``, for several threads of one process; processes have their own."""

    def __init__(self, home: Home) -> None:
        """Open the file, readable by its owner alone; make it and its tables where missing."""
        home.private.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = home.private / "objects.sqlite"
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        if self._connection.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA_VERSION:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
            )

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> "ObjectIndex":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the writes inside the block one transaction: all of them or none."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def find(self, instance: str) -> ObjectRow | None:
        """Return the object with this SOP Instance UID, or None."""
        return next(iter(self._objects("SELECT * FROM objects WHERE instance = ?", instance)), None)

    def objects_of_study(self, study: str, collection: str) -> list[ObjectRow]:
        """Return a study's objects by series and SOP Instance UID."""
        text = "SELECT * FROM objects WHERE study = ? AND collection = ? ORDER BY series, instance"
        return self._objects(text, study, collection)

    def objects_of_series(self, series: str, collection: str) -> list[ObjectRow]:
        """Return a series' objects by SOP Instance UID; sorting slices is for whoever reads their positions."""
        text = "SELECT * FROM objects WHERE series = ? AND collection = ? ORDER BY instance"
        return self._objects(text, series, collection)

    def objects_of_collection(self, collection: str) -> list[ObjectRow]:
        """Return all objects of a collection, study by study."""
        return self._objects("SELECT * FROM objects WHERE collection = ? ORDER BY study, series, instance", collection)

    def accessions(self) -> Iterator[tuple[str, str, str]]:
        """Yield accession number, SOP and Series Instance UID of every object whose study has a number."""
        text = "SELECT accession, instance, series FROM objects JOIN studies USING (study, collection)"
        for accession, instance, series in self._all(f"{text} WHERE accession <> '' ORDER BY instance"):
            yield str(accession), str(instance), str(series)

    def known_instances(self, study: str) -> frozenset[str]:
        """Return the SOP Instance UIDs that are here of a study, whatever their collection."""
        rows = self._all("SELECT instance FROM objects WHERE study = ?", study)
        return frozenset(str(row[0]) for row in rows)

    def study(self, study: str, collection: str) -> StudyRow | None:
        """Return a study of a collection, or None."""
        found = self._all("SELECT * FROM studies WHERE study = ? AND collection = ?", study, collection)
        return _study_row(found[0]) if found else None

    def studies(self, chosen: StudyFilter | None = None, *, after: str = "", limit: int = 1000) -> list[StudyRow]:
        """Return a page of studies by date and UID; ``after`` is ``place_of`` the last one of the page before."""
        conditions, values = _conditions(chosen or StudyFilter())
        if after:
            conditions.append("(study_date, study) > (?, ?)")
            date, _, study = after.partition("/")
            values += [date, study]
        # Few studies are not settled: with the plus they are found by their state, and not by walking all dates.
        order = "+study_date" if chosen is not None and chosen.settled is False else "study_date"
        parts = ("SELECT * FROM studies WHERE", " AND ".join(conditions or ["1"]), "ORDER BY", order, ", study LIMIT ?")
        return [_study_row(row) for row in self._all(" ".join(parts), *values, limit)]

    def count(self, chosen: StudyFilter | None = None) -> tuple[int, int, int]:
        """Return how many studies and objects there are, and their bytes."""
        conditions, values = _conditions(chosen or StudyFilter())
        sums = "SELECT count(*), coalesce(sum(objects), 0), coalesce(sum(bytes), 0) FROM studies WHERE"
        studies, objects, size = self._all(" ".join((sums, " AND ".join(conditions or ["1"]))), *values)[0]
        return int(studies), int(objects), int(size)

    def bytes_kept(self) -> int:
        """Return the size of all objects together."""
        return self.count()[2]

    def pending(self, collection: str) -> list[StudyRow]:
        """Return the settled studies in which something is not yet turned into cases."""
        text = "SELECT * FROM studies WHERE collection = ? AND settled = 1 AND taken < revision ORDER BY study"
        return [_study_row(row) for row in self._all(text, collection)]

    def collections(self) -> list[str]:
        """Return the names under which objects are kept."""
        return [str(row[0]) for row in self._all("SELECT DISTINCT collection FROM studies ORDER BY collection")]

    def put(self, row: ObjectRow, *, study_date: str, accession: str, at: float, by_quiet: bool) -> None:
        """Add an object, or replace the damaged one that had its UID; its study is no longer settled.

        ``by_quiet`` says that the study settles once nothing came of it for a while.
        """
        before = self.find(row.instance)
        if before is not None:
            self._count(before.study, before.collection, -1, -before.size)
        self._run(
            "INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            *(row.instance, row.series, row.study, row.patient, row.sop_class, row.transfer_syntax, row.modality),
            *(row.digest, row.size, row.collection, row.source, row.root, row.place, _annotation_text(row.annotation)),
        )
        self._run(
            "INSERT INTO studies VALUES (?,?,?,?,?,?,?,?,?,?,1,0) ON CONFLICT DO UPDATE SET objects = objects + 1,"
            " bytes = bytes + excluded.bytes, arrived = excluded.arrived, settled = excluded.settled,"
            " revision = revision + 1",
            *(row.study, row.collection, row.patient, row.modality, study_date, accession, 1, row.size, at),
            ARRIVING if by_quiet else INCOMPLETE,
        )

    def annotate(self, row: ObjectRow, annotation: Annotation | None) -> None:
        """Note what a table says now about an object; without a row for it, what was said before stays."""
        if annotation is not None:
            text = _annotation_text(annotation)
            self._run("UPDATE objects SET annotation = ? WHERE instance = ?", text, row.instance)

    def came_again(self, row: ObjectRow, *, at: float) -> None:
        """Let a study whose object was delivered again be looked at again: what was refused may pass now."""
        self._run(
            "UPDATE studies SET arrived = ?, revision = revision + 1 WHERE study = ? AND collection = ?",
            *(at, row.study, row.collection),
        )

    def settle(self, *, quiet_since: float) -> int:
        """Mark the studies settled of which nothing came since then; return how many."""
        return self._run("UPDATE studies SET settled = 1 WHERE settled = 0 AND arrived <= ?", quiet_since)

    def settle_studies(self, studies: Sequence[tuple[str, str]]) -> None:
        """Mark studies settled, each given with its collection."""
        for study, collection in studies:
            self._run("UPDATE studies SET settled = 1 WHERE study = ? AND collection = ?", study, collection)

    def mark_taken(self, rows: Sequence[StudyRow]) -> None:
        """Note that these revisions of studies are turned into cases, or refused with a reason."""
        for row in rows:
            self._run(
                "UPDATE studies SET taken = ? WHERE study = ? AND collection = ?",
                *(row.revision, row.study, row.collection),
            )

    def reconsider(self) -> None:
        """Make every study pending again."""
        self._run("UPDATE studies SET taken = 0")

    def place(self, place: str) -> tuple[str, str] | None:
        """Return the stamp a place of a source had and the object it gave, or None."""
        found = self._all("SELECT stamp, instance FROM places WHERE place = ?", place)
        return (str(found[0][0]), str(found[0][1])) if found else None

    def put_place(self, place: str, stamp: str, instance: str) -> None:
        """Note which object a place of a source gave when it had this stamp."""
        self._run("INSERT OR REPLACE INTO places VALUES (?,?,?)", place, stamp, instance)

    def drop_places(self, instance: str) -> None:
        """Forget the places that gave an object, so that they are read again."""
        self._run("DELETE FROM places WHERE instance = ?", instance)

    def _count(self, study: str, collection: str, objects: int, size: int) -> None:
        self._run(
            "UPDATE studies SET objects = objects + ?, bytes = bytes + ? WHERE study = ? AND collection = ?",
            *(objects, size, study, collection),
        )

    def _objects(self, text: str, *values: object) -> list[ObjectRow]:
        rows = self._all(text, *values)
        return [ObjectRow(*(*row[:13], _annotation_of(row[13]))) for row in rows]

    def _all(self, text: str, *values: object) -> list[Any]:
        with self._lock:
            return self._connection.execute(text, values).fetchall()

    def _run(self, text: str, *values: object) -> int:
        with self._lock:
            return self._connection.execute(text, values).rowcount


def place_of(row: StudyRow) -> str:
    """Return where a study stands in the list, for the next page."""
    return f"{row.study_date}/{row.study}"


def _conditions(chosen: StudyFilter) -> tuple[list[str], list[object]]:
    wanted = {
        "collection = ?": chosen.collection,
        "modality = ?": chosen.modality,
        "patient = ?": chosen.patient,
        "study_date >= ?": chosen.since,
        "study_date <= ?": chosen.until,
        "settled = ?": SETTLED if chosen.settled else None,
        "settled < ?": SETTLED if chosen.settled is False else None,
    }
    present = {text: value for text, value in wanted.items() if value is not None}
    return list(present), list(present.values())


def _study_row(row: Sequence[Any]) -> StudyRow:
    return StudyRow(*(*row[:9], row[9] == SETTLED, *row[10:]))


def _annotation_text(annotation: Annotation | None) -> str:
    return "" if annotation is None else json.dumps(annotation.__dict__)


def _annotation_of(text: str) -> Annotation | None:
    if not text:
        return None
    said = json.loads(text)
    return Annotation(**{**said, "undeclared": tuple(said["undeclared"])})
