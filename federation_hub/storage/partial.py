"""Uploads as they grow: one hidden file each, hashed while it is written so that its bytes are read once.

A hasher lives in memory only. After a restart, or when another process wrote the last chunk, what is on disk is
hashed again once and the upload goes on from there; the file itself is the only truth about the offset.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Protocol

from federation_hub.states import StateConflict
from silo_node.wire.digests import Hasher, finish, new_hasher
from silo_node.wire.errors import IntegrityError, MedSiloError

_BLOCK = 1024 * 1024


class ByteStream(Protocol):
    """What a request's body offers."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


@dataclass
class _Progress:
    hasher: Hasher
    offset: int


class PartialUploads:
    """The unfinished uploads of one folder, by upload id. Memory: a hasher of about 2 KB for each one in progress."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._progress: dict[str, _Progress] = {}
        self._lock = Lock()

    def path(self, upload_id: str) -> Path:
        """Return the upload's hidden file."""
        return self._folder / upload_id

    def offset(self, upload_id: str) -> int:
        """Return how many bytes have arrived."""
        try:
            return self.path(upload_id).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, upload_id: str, body: ByteStream, *, offset: int, size: int) -> int:
        """Write a chunk that begins at ``offset`` of an upload of ``size`` bytes; return the new offset.

        Raises ``offset-mismatch`` where the upload stands elsewhere, ``size-mismatch`` where the chunk runs over the
        declared size (nothing past it is kept), ``state-conflict`` where another request is writing it now.
        """
        with self._open(upload_id) as file:
            progress = self._resume(upload_id, file)
            if progress.offset != offset:
                raise IntegrityError("offset-mismatch")
            buffer = memoryview(bytearray(_BLOCK))
            try:
                while count := body.readinto(buffer):
                    if progress.offset + count > size:
                        raise IntegrityError("size-mismatch")
                    _write(file, buffer[:count])
                    progress.hasher.update(buffer[:count])
                    progress.offset += count
            except BaseException:
                # The file may be ahead of the hasher by part of a block, so the next chunk hashes it again.
                self._forget(upload_id)
                raise
            return progress.offset

    @contextmanager
    def settling(self, upload_id: str) -> Iterator[str]:
        """Give the address of all the bytes that have arrived, and keep every other request from them meanwhile."""
        with self._open(upload_id) as file:
            yield finish(self._resume(upload_id, file).hasher)

    def discard(self, upload_id: str) -> None:
        """Throw the upload's bytes away."""
        self._forget(upload_id)
        self.path(upload_id).unlink(missing_ok=True)

    @contextmanager
    def _open(self, upload_id: str) -> Iterator[BinaryIO]:
        with self.path(upload_id).open("a+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StateConflict from error
            yield file

    def _resume(self, upload_id: str, file: BinaryIO) -> _Progress:
        size = os.fstat(file.fileno()).st_size
        with self._lock:
            known = self._progress.get(upload_id)
        if known is not None and known.offset == size:
            return known
        progress = _Progress(new_hasher(), 0)
        file.seek(0)
        while block := file.read(_BLOCK):
            progress.hasher.update(block)
            progress.offset += len(block)
        with self._lock:
            self._progress[upload_id] = progress
        return progress

    def _forget(self, upload_id: str) -> None:
        with self._lock:
            self._progress.pop(upload_id, None)


def _write(file: BinaryIO, block: memoryview) -> None:
    try:
        while block:
            block = block[file.write(block) :]
    except OSError as error:
        raise MedSiloError("disk-full") from error
