"""The private store of raw cases: one folder a case, written whole or not at all.

::

    private/raw/<case>/image.safetensors    {"image": ...}
                       label.safetensors    {"label": ...}, for segmentation
                       case.json            ids, label, split, affine, spacing, attributes
    private/incoming/<case>/                being written; gone after a restart

A group of cases is written to ``incoming``, flushed to the disk once, renamed into place, and then booked in the
catalogue by the caller. What is killed in between is either unbooked, and written again, or complete.
"""

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from silo_node.state import Home
from silo_node.wire.errors import MedSiloError

_OLD = ".old"


class RawStore:
    """Writes groups of raw cases. Only one process at a time may; see :func:`exclusive`."""

    def __init__(self, home: Home) -> None:
        """Prepare the folders, and put right what a killed process left behind."""
        self._raw, self._incoming = home.raw, home.private / "incoming"
        self._pending: list[str] = []
        self._raw.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._recover()

    def add(self, case_id: str, files: Mapping[str, bytes]) -> None:
        """Write a case beside the store; it is in it after :meth:`publish`."""
        folder = self._incoming / case_id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        for name, data in files.items():
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        self._pending.append(case_id)

    def publish(self) -> None:
        """Flush what was added to the disk, and rename each case into the store; a case that was there is replaced."""
        if not self._pending:
            return
        flush_filesystem(self._incoming)
        for case_id in self._pending:
            old = self._incoming / (case_id + _OLD)
            if (self._raw / case_id).exists():
                os.rename(self._raw / case_id, old)
            os.rename(self._incoming / case_id, self._raw / case_id)
            shutil.rmtree(old, ignore_errors=True)
        flush_filesystem(self._raw)
        self._pending.clear()

    def _recover(self) -> None:
        for old in self._incoming.glob("*" + _OLD):
            place = self._raw / old.name.removesuffix(_OLD)
            if not place.exists():
                os.rename(old, place)
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(mode=0o700)


@contextmanager
def exclusive(home: Home) -> Iterator[None]:
    """Hold the private store for one process; raises ``state-locked`` while another has it."""
    home.private.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home.private / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MedSiloError("state-locked", "an intake or a cohort build is running") from None


def flush_filesystem(folder: Path) -> None:
    """Bring everything written below a folder to the disk: one flush for a group, not one for every small file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), "the disk refused the data")
    finally:
        os.close(descriptor)
