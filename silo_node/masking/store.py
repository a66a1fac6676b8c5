"""Masked rounds as this silo remembers them: one file that survives ``kill -9``, and that forgets what it is told to.

A session is on disk before anything it says is sent, so a node that comes back says the same again and nothing else.
"""

import sqlite3
import threading
from pathlib import Path

from silo_node.masking.protocol import Session
from silo_node.state import Home

_SCHEMA = """
CREATE TABLE IF NOT EXISTS session (
    task_id TEXT PRIMARY KEY, study_id TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
"""


class MaskingStore:
    """The sessions of one node. Usable from several threads and processes."""

    def __init__(self, home: Home) -> None:
        home.masking.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = home.masking
        self._lock = threading.RLock()
        path = home.masking / "sessions.sqlite"
        self._connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        # No write-ahead log: what is overwritten with zeros here must not live on in another file.
        for pragma in ("journal_mode = TRUNCATE", "synchronous = FULL", "secure_delete = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(_SCHEMA)

    def update_path(self, task_id: str) -> Path:
        """Return where the plain update of a task waits until it is masked."""
        return self._folder / f"{task_id}.safetensors"

    def keep(self, session: Session) -> Session:
        """Write a session down; it is on disk when this returns."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO session VALUES (?,?,?,?) ON CONFLICT (task_id) DO UPDATE SET"
                " state = excluded.state, body = excluded.body",
                (session.task_id, session.task.study_id, session.state, session.model_dump_json()),
            )
        return session

    def find(self, task_id: str) -> Session | None:
        """Return a task's session, or None where it has none."""
        found = self._sessions("task_id = ?", task_id)
        return found[0] if found else None

    def unfinished(self) -> list[Session]:
        """Return the sessions that go on, oldest first."""
        return self._sessions("state != ?", "closed")

    def of_study(self, study_id: str) -> list[Session]:
        """Return every session of a study, also those that are closed: what was said once is never forgotten."""
        return self._sessions("study_id = ?", study_id)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _sessions(self, clause: str, value: str) -> list[Session]:
        query = f"SELECT body FROM session WHERE {clause} ORDER BY rowid"  # noqa: S608  # clauses are literals above
        with self._lock:
            rows = self._connection.execute(query, (value,)).fetchall()
        return [Session.model_validate_json(body) for (body,) in rows]
