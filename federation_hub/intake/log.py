"""Noting what arrives. Statements and bytes are on disk before they are answered; mere signs of life wait a little.

A silo asks for work many times a second in an active round. Each question is noted too, yet written together with the
next statement, with the next reading of the log, or when many have come: a poll must not cost a disk's flush.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from threading import Lock

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from federation_hub.db import Database, now
from federation_hub.intake.tables import IntakeRow
from silo_node.wire.intake import IntakeEntry, IntakeLog

PAGE = 1000
MOST_WAITING = 500
SIGNS_OF_LIFE = ("/tasks/claim", "/tasks/{id}/heartbeat")
_PARAMETER = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request body."""

    silo_id: str
    method: str
    path: str
    subject: str
    digest: str
    size: int
    received: datetime

    @property
    def sign_of_life(self) -> bool:
        return self.path.endswith(SIGNS_OF_LIFE)


def path_template(rule: str) -> str:
    """Return a route's rule as silos write it: ``/api/v1/tasks/{id}/result``."""
    return _PARAMETER.sub("{id}", rule)


class Intake:
    """The log of one process of a hub. Usable from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Arrival] = []
        self._lock = Lock()

    def note(self, silo_id: str, *, method: str, path: str, subject: str, digest: str, size: int) -> None:
        """Note one body that arrived."""
        arrival = Arrival(silo_id, method, path, subject, digest, size, now())
        with self._lock:
            self._waiting.append(arrival)
            due = not arrival.sign_of_life or len(self._waiting) >= MOST_WAITING
        if due:
            self.flush()

    def flush(self) -> None:
        """Write down what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if waiting:
            with self._database.session() as session:
                _write(session, waiting)

    def read(self, silo_id: str, after: int) -> IntakeLog:
        """Return a silo's entries after a number."""
        self.flush()
        with self._database.reading() as session:
            found = select(IntakeRow).where(IntakeRow.silo_id == silo_id, IntakeRow.id > after).order_by(IntakeRow.id)
            rows = list(session.scalars(found.limit(PAGE + 1)))
        return IntakeLog(entries=tuple(map(_entry, rows[:PAGE])), more=len(rows) > PAGE)


def _write(session: Session, arrivals: Sequence[Arrival]) -> None:
    session.execute(insert(IntakeRow), [asdict(arrival) for arrival in arrivals])


def _entry(row: IntakeRow) -> IntakeEntry:
    return IntakeEntry(
        number=row.id,
        received=row.received,
        method=row.method,
        path=row.path,
        subject=row.subject,
        digest=row.digest,
        size=row.size,
    )
