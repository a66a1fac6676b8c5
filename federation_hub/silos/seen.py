"""When silos were last heard of, kept in memory and written down together."""

from datetime import datetime
from threading import Lock

from sqlalchemy import bindparam, update

from federation_hub.db import Database
from federation_hub.silos.tables import Silo

_SEEN = update(Silo).where(Silo.id == bindparam("silo")).values(last_seen=bindparam("at"))


class Seen:
    """The silos one process has heard of since it last wrote them down, which the ``sweeper`` does every few seconds.

    A thousand silos ask forty times a second: written one by one, they would queue for the database's one writer, and
    who asked would wait for a disk. Usable from several threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._at: dict[str, datetime] = {}

    def note(self, silo_id: str, at: datetime) -> None:
        """Remember that a silo has asked."""
        with self._lock:
            self._at[silo_id] = at

    def write(self, database: Database) -> None:
        """Write down what was noted since the last time; what cannot be written now waits for the next time."""
        with self._lock:
            noted, self._at = self._at, {}
        try:
            if noted:
                with database.session() as session:
                    session.connection().execute(_SEEN, [{"silo": one, "at": noted[one]} for one in sorted(noted)])
        except BaseException:
            with self._lock:
                self._at = noted | self._at
            raise
