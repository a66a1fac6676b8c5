"""Where signs of life wait: a file of lines, so that a killed hub has lost none of them.

A line is handed to the system before its request is answered, which costs no disk's flush: it outlives the process,
and only a machine that loses its power can lose the last of them. Each process has a file of its own and holds its
lock; the lines of one that ended are taken over by whoever looks next.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import finalize

_SUFFIX = ".jsonl"


class Spool:
    """One process's file. The caller keeps two threads from using it at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._descriptor: int | None = None

    def add(self, number: int, line: dict[str, Any]) -> None:
        """Write one numbered line."""
        os.write(self._open(), json.dumps({"number": number, **line}).encode() + b"\n")

    def clear(self) -> None:
        """Forget the lines: they are in the database."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)

    def _open(self) -> int:
        if self._descriptor is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.folder / (self.name + _SUFFIX)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            # With its lock goes the claim on its lines, and whoever looks next takes them over.
            finalize(self, os.close, self._descriptor)
        return self._descriptor


def orphans(folder: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield name and lines of each file whose process has ended; the file goes once the caller comes back for more.

    A caller that is killed before finds it again: it must know by its numbers which lines it has.
    """
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had the lock before may have taken it over already.
            if path.exists():
                yield path.stem, list(_lines(path))
                path.unlink()
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().split(b"\n"):
        try:
            found = json.loads(line)
        except ValueError:
            # A line that a full disk cut off.
            continue
        if isinstance(found, dict):
            yield found
