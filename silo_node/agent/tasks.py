"""Tasks as the journal remembers them, so that a node killed at any moment goes on where it was."""

import sqlite3
from dataclasses import dataclass
from typing import Literal

from silo_node.journal import Journal
from silo_node.wire.envelope import Envelope

TaskState = Literal["claimed", "running", "answered", "closed"]
"""``answered``: its statement is in the outbox; ``closed``: nothing more will be done, ``code`` may say why."""


@dataclass(frozen=True)
class TaskRecord:
    """One task this node has claimed."""

    task_id: str
    kind: str
    envelope: Envelope
    state: TaskState
    code: str | None
    done: int
    total: int
    created: str
    changed: str


class TaskBook:
    """All tasks of a node. Usable from several threads and processes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def claim(self, task_id: str, kind: str, envelope: Envelope) -> None:
        """Remember a task that was claimed; one that is known is open again."""
        now = self._journal.now()
        with self._journal.writing() as connection:
            connection.execute(
                "INSERT INTO task VALUES (?,?,?,'claimed',NULL,0,0,?,?) ON CONFLICT (task_id) DO UPDATE SET"
                " envelope = excluded.envelope, state = 'claimed', code = NULL, changed = excluded.changed",
                (task_id, kind, envelope.model_dump_json(), now, now),
            )

    def move(self, task_id: str, state: TaskState, code: str | None = None) -> None:
        """Note that a task has come further."""
        with self._journal.writing() as connection:
            connection.execute(
                "UPDATE task SET state = ?, code = ?, changed = ? WHERE task_id = ?",
                (state, code, self._journal.now(), task_id),
            )

    def progress(self, task_id: str, done: int, total: int) -> None:
        """Note how far the work of a task has come."""
        with self._journal.writing() as connection:
            connection.execute(
                "UPDATE task SET done = ?, total = ?, changed = ? WHERE task_id = ?",
                (done, total, self._journal.now(), task_id),
            )

    def unfinished(self) -> list[TaskRecord]:
        """Return the tasks that were claimed and have no statement in the outbox yet, oldest first."""
        rows = self._journal.rows("SELECT * FROM task WHERE state IN ('claimed', 'running') ORDER BY created")
        return [_record(row) for row in rows]

    def find(self, task_id: str) -> TaskRecord | None:
        """Return a task, or None where it is not known."""
        rows = self._journal.rows("SELECT * FROM task WHERE task_id = ?", (task_id,))
        return _record(rows[0]) if rows else None

    def recent(self, limit: int = 20) -> list[TaskRecord]:
        """Return the tasks that changed last, latest first."""
        return [
            _record(row) for row in self._journal.rows("SELECT * FROM task ORDER BY changed DESC LIMIT ?", (limit,))
        ]


def _record(row: sqlite3.Row) -> TaskRecord:
    return TaskRecord(
        task_id=row["task_id"],
        kind=row["kind"],
        envelope=Envelope.model_validate_json(row["envelope"]),
        state=row["state"],
        code=row["code"],
        done=row["done"],
        total=row["total"],
        created=row["created"],
        changed=row["changed"],
    )
