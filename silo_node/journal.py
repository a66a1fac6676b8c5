"""The node's memory of its work: tasks, consents and the outbox, in one SQLite file that survives ``kill -9``.

Every change is one committed transaction; a reader in another process (a command, the console) sees it at once.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from silo_node.state import Home

_SCHEMA = """
CREATE TABLE IF NOT EXISTS task (
    task_id TEXT PRIMARY KEY, kind TEXT NOT NULL, envelope TEXT NOT NULL, state TEXT NOT NULL, code TEXT,
    done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0, created TEXT NOT NULL, changed TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outbox (
    item_id TEXT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, message TEXT NOT NULL, attachment TEXT,
    state TEXT NOT NULL, code TEXT, answer TEXT, released_by TEXT, created TEXT NOT NULL, changed TEXT NOT NULL,
    UNIQUE (kind, subject)
) STRICT;
CREATE TABLE IF NOT EXISTS consent (
    study_id TEXT PRIMARY KEY, association_id TEXT NOT NULL, request TEXT NOT NULL, plan_digest TEXT NOT NULL,
    created TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS spending (
    subject TEXT NOT NULL, owner TEXT NOT NULL, month TEXT NOT NULL, models TEXT NOT NULL, bits REAL NOT NULL,
    created TEXT NOT NULL, PRIMARY KEY (subject, owner)
) STRICT;
CREATE TABLE IF NOT EXISTS learnt (
    subject TEXT PRIMARY KEY, owner TEXT NOT NULL, month TEXT NOT NULL, updates INTEGER NOT NULL, bits REAL NOT NULL,
    created TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS told (
    benchmark TEXT NOT NULL, cohort TEXT NOT NULL, patients TEXT NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (benchmark, cohort)
) STRICT;
CREATE TABLE IF NOT EXISTS judged (
    place INTEGER PRIMARY KEY, study_id TEXT NOT NULL, base TEXT NOT NULL, value REAL, verdict TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS hold (
    item_id TEXT PRIMARY KEY, persons INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS approval (
    item_id TEXT NOT NULL, person TEXT NOT NULL, digest TEXT NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (item_id, person)
) STRICT;
CREATE TABLE IF NOT EXISTS privacy (
    number INTEGER PRIMARY KEY, cohort TEXT NOT NULL, part TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    mechanism TEXT NOT NULL, created TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS privacy_patients (
    cohort TEXT NOT NULL, part TEXT NOT NULL, patients TEXT NOT NULL, PRIMARY KEY (cohort, part)
) STRICT;
CREATE TABLE IF NOT EXISTS counted (parts TEXT PRIMARY KEY) STRICT;
CREATE TRIGGER IF NOT EXISTS privacy_is_not_changed BEFORE UPDATE ON privacy
    BEGIN SELECT RAISE(ABORT, 'the privacy ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS privacy_is_not_deleted BEFORE DELETE ON privacy
    BEGIN SELECT RAISE(ABORT, 'the privacy ledger is append-only'); END;
"""


def now_text() -> str:
    """Return the present moment as the journal writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Journal:
    """One open journal. Its methods may be called from several threads, and from several processes."""

    def __init__(self, home: Home, now: Callable[[], str] = now_text) -> None:
        self.now = now
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(home.journal, timeout=10, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_SCHEMA)
        home.journal.chmod(0o600)

    def rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return what a query finds."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Do several things or none of them."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def version(self) -> Any:
        """Return a number that changes when another process has changed the journal."""
        return self.rows("PRAGMA data_version")[0][0]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
