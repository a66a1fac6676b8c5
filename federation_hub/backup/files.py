"""Folders that are whole or not there, and files that are hashed while they are copied."""

import errno
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from silo_node.wire.digests import finish, new_hasher
from silo_node.wire.errors import BadInput, MedSiloError

_BLOCK = 1024 * 1024
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
SPARE_BYTES = 64 * _BLOCK
"""Room that is left on a disk, for a hub may live on the same one."""


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder beside ``folder``, which takes its name at the end of the block, flushed to the disk.

    What a killed process left there is thrown away. Raises ``already-exists`` where there is something under the name
    already, ``state-locked`` where another process is making it, ``disk-full``.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise BadInput("already-exists", f"{folder} is there and not empty")
    draft = folder.with_name(f".{folder.name}.part")
    with faults_are_told(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f".{folder.name}.lock")
        with alone(lock):
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            try:
                yield draft
                # One flush of everything costs less than one for each of thousands of small blobs.
                os.sync()
                draft.replace(folder)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            finally:
                lock.unlink(missing_ok=True)
            os.sync()


def copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file so that only its owner may read the copy; return its size and its digest."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    hasher, size = new_hasher(), 0
    with source.open("rb", buffering=0) as read, open_private(target) as written:
        while block := read.read(_BLOCK):
            hasher.update(block)
            size += len(block)
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(written, rest) :]
    return size, finish(hasher)


@contextmanager
def open_private(path: Path) -> Iterator[int]:
    """Make a new file that only its owner may read, and give its descriptor."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def ask_for_room(folder: Path, size: int) -> None:
    """Raise ``disk-full`` where ``size`` bytes do not fit into the disk of a folder."""
    free = shutil.disk_usage(folder).free
    if free < size + SPARE_BYTES:
        raise MedSiloError("disk-full", f"{folder} has {free / 1e6:.0f} MB left, {size / 1e6:.0f} MB are needed")


@contextmanager
def faults_are_told(folder: Path) -> Iterator[None]:
    """Turn what the system and SQLite refuse into ``disk-full``, ``state-locked`` or ``backup-failed``."""
    try:
        yield
    except OSError as error:
        code = "disk-full" if error.errno in _NO_ROOM else "backup-failed"
        raise MedSiloError(code, f"{error.filename or folder}: {error.strerror}") from error
    except sqlite3.Error as error:
        codes = {sqlite3.SQLITE_FULL: "disk-full", sqlite3.SQLITE_BUSY: "state-locked"}
        raise MedSiloError(
            codes.get(getattr(error, "sqlite_errorcode", 0), "backup-failed"), f"SQLite: {error}"
        ) from error


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock that goes with the process, however it ends; raises ``state-locked`` where another one has it."""
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MedSiloError("state-locked", f"another process is at work there and holds {path}") from error
        yield
