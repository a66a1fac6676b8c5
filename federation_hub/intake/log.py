"""Noting what arrives, before it is answered: statements and bytes on disk, mere signs of life in a file that waits.

A silo asks for work many times a second in an active round. Each question is noted too, yet goes to the database
together with the next statement, with the next reading of the log, or when many have come: a poll must not cost a
disk's flush. Until then it stands in the :mod:`~federation_hub.intake.spool`, which outlives a killed hub.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

import structlog
from sqlalchemy import insert, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from federation_hub.db import Database, now
from federation_hub.intake.spool import Spool, orphans
from federation_hub.intake.tables import IntakeRow, SpoolRow
from silo_node.wire.intake import IntakeEntry, IntakeLog

PAGE = 1000
MOST_WAITING = 500
SIGNS_OF_LIFE = ("/tasks/claim", "/tasks/{id}/heartbeat")
_log = structlog.get_logger("federation_hub")
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

    def __init__(self, database: Database, folder: Path) -> None:
        """``folder`` is where processes of this hub's machine keep what waits."""
        self._database = database
        self._spool = Spool(folder)
        self._waiting: list[tuple[int, Arrival]] = []
        self._count = 0
        self._lock, self._writing = Lock(), Lock()

    def note(self, silo_id: str, *, method: str, path: str, subject: str, digest: str, size: int) -> None:
        """Note one body that arrived."""
        arrival = Arrival(silo_id, method, path, subject, digest, size, now())
        with self._lock:
            self._count += 1
            self._waiting.append((self._count, arrival))
            if arrival.sign_of_life:
                self._spool.add(self._count, asdict(arrival) | {"received": arrival.received.isoformat()})
            many = len(self._waiting) >= MOST_WAITING
        if not arrival.sign_of_life:
            self.flush()
        elif many:
            self._flush_if_possible()

    def flush(self) -> None:
        """Write down what waits."""
        with self._writing:
            self._flush()

    def _flush_if_possible(self) -> None:
        """Write down what waits, unless somebody does already; in a database that is locked it can wait longer."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            self._flush()
        except OperationalError:
            _log.warning("intake-waits", count=len(self._waiting))
        finally:
            self._writing.release()

    def _flush(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
        if not waiting:
            return
        with self._database.session() as session:
            _write(session, self._spool.name, waiting)
        with self._lock:
            self._waiting = self._waiting[len(waiting) :]
            # Only when nothing in the file is needed any more; what came meanwhile has a higher number.
            if not self._waiting:
                self._spool.clear()

    def adopt(self) -> None:
        """Write down what processes that were killed had waiting."""
        for name, lines in orphans(self._spool.folder):
            with self._database.session() as session:
                row = session.get(SpoolRow, name)
                written = 0 if row is None else row.written
                found = [(int(line.pop("number")), _arrival(line)) for line in lines]
                missing = [one for one in found if one[0] > written]
                if missing:
                    _write(session, name, missing)

    def read(self, silo_id: str, after: int) -> IntakeLog:
        """Return a silo's entries after a number."""
        self.adopt()
        self.flush()
        with self._database.reading() as session:
            found = select(IntakeRow).where(IntakeRow.silo_id == silo_id, IntakeRow.id > after).order_by(IntakeRow.id)
            rows = list(session.scalars(found.limit(PAGE + 1)))
        return IntakeLog(entries=tuple(map(_entry, rows[:PAGE])), more=len(rows) > PAGE)


def _write(session: Session, spool: str, arrivals: Sequence[tuple[int, Arrival]]) -> None:
    """Write arrivals down, and in the same transaction up to which number those of a file are written."""
    session.execute(insert(IntakeRow), [asdict(arrival) for _, arrival in arrivals])
    if any(arrival.sign_of_life for _, arrival in arrivals):
        session.merge(SpoolRow(name=spool, written=arrivals[-1][0]))


def _arrival(line: dict[str, Any]) -> Arrival:
    return Arrival(**line | {"received": datetime.fromisoformat(line["received"])})


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
