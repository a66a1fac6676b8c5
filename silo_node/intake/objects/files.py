"""The objects' files: written beside the store, flushed, renamed into it, so that one is whole or not there.

::

    private/objects/<hh>/<digest>.dcm       content-addressed by the data set's digest
    private/objects/incoming/<pid>.<n>      being written
"""

import os
from pathlib import Path

from silo_node.intake.objects.index import ObjectRow
from silo_node.intake.store import flush_filesystem
from silo_node.state import Home


class ObjectFiles:
    """Reads and writes objects. Several processes may; each writes under names of its own."""

    def __init__(self, home: Home) -> None:
        self._root = home.private / "objects"
        self._incoming = self._root / "incoming"
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._written: list[tuple[Path, Path]] = []
        self._number = 0
        self._drop_what_the_dead_left()

    def path(self, row: ObjectRow) -> Path:
        """Return an object's file."""
        return self._place(row.digest)

    def read(self, row: ObjectRow) -> bytes:
        """Return an object's bytes, file meta information included."""
        return self.path(row).read_bytes()

    def write(self, digest: str, data: bytes) -> None:
        """Write an object beside the store; it is in it after :meth:`publish`."""
        self._number += 1
        temporary = self._incoming / f"{os.getpid()}.{id(self):x}.{self._number}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._written.append((temporary, self._place(digest)))

    def publish(self) -> None:
        """Flush what was written to the disk and rename it into the store."""
        if not self._written:
            return
        self._flush([temporary for temporary, _ in self._written])
        folders = {place.parent for _, place in self._written}
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)
        for temporary, place in self._written:
            os.replace(temporary, place)
        self._flush([*folders, self._root])
        self._written.clear()

    def drop_unpublished(self) -> None:
        """Forget what was written since the last publication."""
        for temporary, _ in self._written:
            temporary.unlink(missing_ok=True)
        self._written.clear()

    def remove(self, digest: str) -> None:
        """Remove an object that another one replaced."""
        self._place(digest).unlink(missing_ok=True)

    def _flush(self, paths: list[Path]) -> None:
        # One flush of the file system costs as much as several of single files.
        if len(paths) > 4:
            flush_filesystem(self._root)
            return
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _place(self, digest: str) -> Path:
        return self._root / digest[:2] / f"{digest}.dcm"

    def _drop_what_the_dead_left(self) -> None:
        for left in self._incoming.iterdir():
            process = left.name.partition(".")[0]
            if process.isdigit() and not Path("/proc", process).exists():
                left.unlink(missing_ok=True)
