"""What the node has: cases, refused files and cohorts, in one SQLite file.

The catalogue lies outside the private store, so it holds nothing of a source: pseudonyms, keyed hashes of places,
closed-vocabulary attributes, coded reasons. A file's name is only in the private store. Rows change in transactions
that also write the audit table.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

BUSY_SECONDS = 10.0
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cases (
  case_id TEXT PRIMARY KEY, patient TEXT NOT NULL, collection TEXT NOT NULL, source TEXT NOT NULL, modality TEXT,
  content TEXT NOT NULL, record TEXT NOT NULL, labelled INTEGER NOT NULL, added TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS cases_by_collection ON cases (collection, modality);
CREATE TABLE IF NOT EXISTS items (
  locator TEXT PRIMARY KEY, stamp TEXT NOT NULL, case_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
  locator TEXT PRIMARY KEY, source TEXT NOT NULL, code TEXT NOT NULL, reasons TEXT NOT NULL, at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS cohorts (
  cohort_id TEXT PRIMARY KEY, state TEXT NOT NULL, benchmark TEXT NOT NULL, version INTEGER NOT NULL,
  definition TEXT NOT NULL, fingerprint TEXT, facts TEXT NOT NULL, hub_cohort_id TEXT, created TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS audit (
  number INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, subject TEXT NOT NULL,
  before TEXT, after TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class CaseRow:
    """A raw case in the private store."""

    case_id: str
    patient: str
    collection: str
    source: str
    modality: str | None
    content: str
    """Keyed digest of the image's source bytes."""

    record: str
    """Keyed digest of everything else the case was made from: label, split, attributes."""

    labelled: bool


@dataclass(frozen=True)
class ItemRow:
    """A place in a source, and which case it gave when its stamp, a keyed digest, was as noted."""

    locator: str
    stamp: str
    case_id: str


@dataclass(frozen=True)
class QuarantineRow:
    """A file that was refused. ``reasons`` are the coded pixel risks, if it was refused for them."""

    locator: str
    source: str
    code: str
    reasons: tuple[str, ...]
    at: str = ""


@dataclass(frozen=True)
class CohortRow:
    """A cohort of this node. ``facts`` are counts by name."""

    cohort_id: str
    state: str
    benchmark: str
    version: int
    definition: str
    """Digest of the benchmark's definition."""

    fingerprint: str | None
    facts: dict[str, int]
    hub_cohort_id: str | None
    created: str


class Catalogue:
    """One connection to the catalogue. Several processes may each have theirs."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        """Open the file, readable by its owner alone; make it and its tables where missing.

        ``shared`` is for several threads that take turns on this connection.
        """
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=not shared
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        if self._connection.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA_VERSION:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
            )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> "Catalogue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the writes inside the block one transaction: all of them or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def case(self, case_id: str) -> CaseRow | None:
        """Return a case, or None."""
        row = self._connection.execute(
            "SELECT case_id, patient, collection, source, modality, content, record, labelled FROM cases"
            " WHERE case_id = ?",
            (case_id,),
        ).fetchone()
        return CaseRow(*(*row[:7], bool(row[7]))) if row else None

    def cases(self, collection: str | None = None) -> list[CaseRow]:
        """Return all cases, or those of one collection, by id."""
        rows = self._connection.execute(
            "SELECT case_id, patient, collection, source, modality, content, record, labelled FROM cases"
            " WHERE ?1 IS NULL OR collection = ?1 ORDER BY case_id",
            (collection,),
        )
        return [CaseRow(*(*row[:7], bool(row[7]))) for row in rows]

    def collections(self) -> dict[str, int]:
        """Return the names cases were taken in under, each with the number of its cases."""
        rows = self._connection.execute("SELECT collection, count(*) FROM cases GROUP BY collection ORDER BY 1")
        return {str(name): int(count) for name, count in rows}

    def count_cases(self) -> int:
        """Return how many cases there are."""
        return int(self._connection.execute("SELECT count(*) FROM cases").fetchone()[0])

    def item(self, locator: str) -> ItemRow | None:
        """Return what is known of a place in a source, or None."""
        row = self._connection.execute(
            "SELECT locator, stamp, case_id FROM items WHERE locator = ?", (locator,)
        ).fetchone()
        return ItemRow(*row) if row else None

    def put_case(self, row: CaseRow, at: datetime) -> None:
        """Add a case, or replace what is known of it."""
        values = (row.case_id, row.patient, row.collection, row.source, row.modality, row.content, row.record)
        self._connection.execute(
            "INSERT INTO cases VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (case_id) DO UPDATE SET"
            " patient = excluded.patient, modality = excluded.modality, content = excluded.content,"
            " record = excluded.record, labelled = excluded.labelled",
            (*values, row.labelled, stamp(at)),
        )

    def put_item(self, row: ItemRow) -> None:
        """Note which case a place gave; it is no longer in quarantine."""
        self._connection.execute("INSERT OR REPLACE INTO items VALUES (?,?,?)", (row.locator, row.stamp, row.case_id))
        self._connection.execute("DELETE FROM quarantine WHERE locator = ?", (row.locator,))

    def put_quarantine(self, row: QuarantineRow, at: datetime) -> None:
        """Note that a place was refused, and why."""
        reasons = json.dumps(sorted(row.reasons))
        self._connection.execute("DELETE FROM items WHERE locator = ?", (row.locator,))
        self._connection.execute(
            "INSERT OR REPLACE INTO quarantine VALUES (?,?,?,?,?)",
            (row.locator, row.source, row.code, reasons, stamp(at)),
        )

    def drop_quarantine(self, locator: str) -> None:
        """Note that a place is no longer refused."""
        self._connection.execute("DELETE FROM quarantine WHERE locator = ?", (locator,))

    def quarantine(self) -> list[QuarantineRow]:
        """Return what was refused, oldest first."""
        rows = self._connection.execute(
            "SELECT locator, source, code, reasons, at FROM quarantine ORDER BY at, locator"
        )
        return [QuarantineRow(row[0], row[1], row[2], tuple(json.loads(row[3])), row[4]) for row in rows]

    def cohort(self, cohort_id: str) -> CohortRow | None:
        """Return a cohort, or None."""
        return next(iter(self.cohorts(cohort_id=cohort_id)), None)

    def cohort_by_fingerprint(self, fingerprint: str) -> CohortRow | None:
        """Return the cohort the hub knows by this fingerprint, or None."""
        return next(iter(self.cohorts(fingerprint=fingerprint)), None)

    def cohorts(self, *, cohort_id: str | None = None, fingerprint: str | None = None) -> list[CohortRow]:
        """Return cohorts, oldest first: all, or those with this id or this fingerprint."""
        rows = self._connection.execute(
            "SELECT cohort_id, state, benchmark, version, definition, fingerprint, facts, hub_cohort_id, created"
            " FROM cohorts WHERE (?1 IS NULL OR cohort_id = ?1) AND (?2 IS NULL OR fingerprint = ?2)"
            " ORDER BY created, cohort_id",
            (cohort_id, fingerprint),
        )
        return [CohortRow(*(*row[:6], json.loads(row[6]), *row[7:])) for row in rows]

    def put_cohort(self, row: CohortRow) -> None:
        """Add a cohort, or replace what is known of it."""
        values = (row.cohort_id, row.state, row.benchmark, row.version, row.definition, row.fingerprint)
        self._connection.execute(
            "INSERT OR REPLACE INTO cohorts VALUES (?,?,?,?,?,?,?,?,?)",
            (*values, json.dumps(row.facts), row.hub_cohort_id, row.created),
        )

    def drop_cohort(self, cohort_id: str) -> None:
        """Forget a draft that was never finished."""
        self._connection.execute("DELETE FROM cohorts WHERE cohort_id = ? AND state = 'draft'", (cohort_id,))

    def audit(
        self, *, at: datetime, actor: str, subject: str, before: str | None, after: str, reason: str = ""
    ) -> None:
        """Write one line of the audit table."""
        self._connection.execute(
            "INSERT INTO audit (at, actor, subject, before, after, reason) VALUES (?,?,?,?,?,?)",
            (stamp(at), actor, subject, before, after, reason),
        )

    def audited(self, subject: str) -> Iterable[tuple[str | None, str]]:
        """Return the transitions of one subject, in order, as (before, after)."""
        return self._connection.execute(
            "SELECT before, after FROM audit WHERE subject = ? ORDER BY number", (subject,)
        ).fetchall()


def stamp(at: datetime) -> str:
    """Return a time as the catalogue writes it: ISO 8601 in UTC, to the second."""
    return at.astimezone(UTC).isoformat(timespec="seconds")
