"""The append-only record of every byte that left: one JSON line a request body, chained by hashes.

A line is on disk before its bytes go, so the log may hold something that never arrived, but nothing can arrive that the
log does not hold. Each line's hash covers the line before it; changing, dropping or moving one breaks the chain from
there on. Several processes of one node write to one log, one at a time.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from silo_node.wire.canonical import canonical_bytes, parse_object
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import IntegrityError

START = "blake3:" + "0" * 64
"""What the first line names as the line before it."""

TORN = "torn-line-removed"
_TAIL = 65_536


@dataclass(frozen=True)
class Departure:
    """One request body that was about to leave."""

    time: str
    method: str
    path: str
    """The path's template, ``/api/v1/tasks/{task_id}/result``: what kind of thing was sent, and where to."""

    kind: str
    """The wire message's class, or ``bytes:model`` and ``bytes:update`` for a part of a blob."""

    digest: str
    """BLAKE3 of the body's exact bytes."""

    size: int
    subject: str
    """The task, upload or other id it belongs to, as the hub knows it; for bytes also the offset in the blob."""


@dataclass(frozen=True)
class Entry:
    """One line of the log."""

    number: int
    departure: Departure
    previous: str
    hash: str


def _now() -> datetime:
    return datetime.now(UTC)


class EgressLog:
    """The log in one file. Safe for several threads and processes."""

    def __init__(self, path: Path, now: Callable[[], datetime] = _now) -> None:
        self._path = path
        self._now = now

    def append(self, *, method: str, path: str, kind: str, digest: str, size: int, subject: str = "") -> Entry:
        """Write one line and return it; once this returns, the line survives a power cut."""
        with open(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            number, previous = self._end(file)
            departure = Departure(self._now().isoformat(), method, path, kind, digest, size, subject)
            entry = _write(file, number, departure, previous)
            os.fdatasync(file.fileno())
            return entry

    def entries(self) -> Iterator[Entry]:
        """Yield the lines from first to last, unverified; raises ``log-broken`` for one that is no line of a log."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                yield _parsed(line)

    def verify(self) -> tuple[int, str]:
        """Check every line against the one before it; return their number and the last hash.

        Raises :class:`IntegrityError` ``log-broken``, naming the first line that does not fit.
        """
        number, previous = 0, START
        for entry in self.entries():
            body = {"number": entry.number, **asdict(entry.departure), "previous": entry.previous}
            if entry.number != number or entry.previous != previous or _hash(body) != entry.hash:
                raise IntegrityError("log-broken", f"line {number + 1}")
            number, previous = number + 1, entry.hash
        return number, previous

    def _end(self, file: BinaryIO | Any) -> tuple[int, str]:
        """Return the next line's number and the last line's hash; a line torn by a power cut is replaced by a note.

        A torn line was never whole on disk, so its bytes never left.
        """
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        tail = file.read(_TAIL)
        whole = tail[: tail.rfind(b"\n") + 1]
        lines = whole.splitlines()
        last = _parsed(lines[-1]) if lines else None
        number, previous = (last.number + 1, last.hash) if last else (0, START)
        if len(whole) == len(tail):
            return number, previous
        file.truncate(size - len(tail) + len(whole))
        file.seek(0, os.SEEK_END)
        note = Departure(self._now().isoformat(), "", "", TORN, START, 0, "")
        entry = _write(file, number, note, previous)
        return number + 1, entry.hash


def _write(file: BinaryIO | Any, number: int, departure: Departure, previous: str) -> Entry:
    body = {"number": number, **asdict(departure), "previous": previous}
    entry = Entry(number, departure, previous, _hash(body))
    line = json.dumps({**body, "hash": entry.hash}, separators=(",", ":")).encode() + b"\n"
    file.seek(0, os.SEEK_END)
    written = file.write(line)
    if written != len(line):
        raise OSError("the egress log could not be written")
    return entry


def _hash(body: dict[str, Any]) -> str:
    return digest_bytes(canonical_bytes(body))


def _parsed(line: bytes) -> Entry:
    try:
        value = parse_object(line)
        number, previous, found = value.pop("number"), value.pop("previous"), value.pop("hash")
        return Entry(number, Departure(**value), previous, found)
    except (ValueError, KeyError, TypeError):
        raise IntegrityError("log-broken", "a line is not one of the log's") from None
