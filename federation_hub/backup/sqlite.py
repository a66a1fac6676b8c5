"""One moment of the hub's and the engine's SQLite databases, copied while the hub goes on writing."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from silo_node.wire.errors import IntegrityError

_BUSY_SECONDS = 30


class FrozenFiles:
    """Databases as they were at one moment; each is read by a transaction that stays open until it is copied."""

    def __init__(self, readers: dict[str, sqlite3.Connection]) -> None:
        self._readers = readers

    def copy_to(self, folder: Path) -> None:
        """Write each database into a folder under its name, checked by SQLite itself; raises ``backup-invalid``."""
        for name, reader in self._readers.items():
            path = folder / name
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(sqlite3.connect(path)) as target:
                reader.backup(target)
                # In the rollback journal's mode a database is one file; the hub goes back to its own at its start.
                target.execute("PRAGMA journal_mode=DELETE")
                if target.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
                    raise IntegrityError("backup-invalid", f"SQLite finds {name} damaged; the disk may be failing")


@contextmanager
def frozen(hub: Path, engine: Path) -> Iterator[tuple[FrozenFiles, ExitStack]]:
    """Keep every writer of the hub's database waiting, and give both databases as they are now.

    The engine's checkpoints are never ahead of the hub's database then: a checkpoint follows what its step wrote
    there, and a step that runs once more is harmless. The second value is closed to let writers go on.
    """
    with ExitStack() as readers, ExitStack() as writer:
        lock = writer.enter_context(closing(_open(hub)))
        lock.execute("BEGIN IMMEDIATE")
        found = {}
        for name, path in (("hub.sqlite", hub), ("engine.sqlite", engine)):
            if path.exists():
                found[name] = readers.enter_context(closing(_open(path)))
                found[name].execute("BEGIN")
                # A transaction begins to see with its first reading.
                found[name].execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield FrozenFiles(found), writer


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
