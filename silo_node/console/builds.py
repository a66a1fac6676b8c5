"""The one cohort that is being built from the console: what was asked, how far it is, and how it ended.

It is built by a process of its own, so that pages answer at once and a restart of the console ends nothing. The process
holds a lock as long as it lives: whether it still works doesn't rest on what it wrote last.
"""

import fcntl
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from silo_node.cohorts.query import CohortQuery
from silo_node.state import Home, write_private
from silo_node.wire.errors import MedSiloError

LABELS_LIMIT = 8 * 1024 * 1024
_LOOK = threading.Lock()


class Build(BaseModel):
    """What was asked for, by whom, and what came of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    person: str
    started: datetime
    benchmark: str
    version: int | None = None
    """None is the latest the hub has published."""

    definition: str | None = None
    """Digest of a definition that is kept here; without it the hub is asked."""

    collection: str | None = None
    query: CohortQuery = CohortQuery()
    labels: bool = False
    state: Literal["running", "built", "refused"] = "running"
    done: int = 0
    total: int = 0
    cohort_id: str | None = None
    code: str | None = None
    detail: str = ""


def begin(home: Home, build: Build, labels: bytes | None) -> None:
    """Start building in a process of its own; raises ``state-locked`` while another one from the console runs."""
    home.create().console.mkdir(mode=0o700, exist_ok=True)
    with _LOOK:
        lock = _open(home)
        try:
            if not _free(lock, fcntl.LOCK_EX):
                raise MedSiloError("state-locked", "a cohort is being built from the console already")
            home.console_labels.unlink(missing_ok=True)
            if labels is not None:
                write_private(home.console_labels, labels)
            save(home, build)
            _start(home, lock)
        finally:
            os.close(lock)


def save(home: Home, build: Build) -> None:
    """Write down how far it is."""
    write_private(home.console_build, build.model_dump_json().encode())


def last_build(home: Home) -> Build | None:
    """Return the build that runs or was last; one whose process is gone is told as failed."""
    with _LOOK:
        if not home.console_build.exists():
            return None
        lock = _open(home)
        try:
            alive = not _free(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)
        # Read after the look: a process that has just ended has written its last word before.
        found = Build.model_validate_json(home.console_build.read_bytes())
        if found.state != "running" or alive:
            return found
        home.console_labels.unlink(missing_ok=True)
    return found.model_copy(update={"state": "refused", "code": "work-failed", "detail": "its process has ended"})


def now() -> datetime:
    """Return the present time, as a build is stamped with."""
    return datetime.now(UTC)


def _open(home: Home) -> int:
    return os.open(home.console_build_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _free(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(home: Home, lock: int) -> None:
    """Start the process and hand it the lock, which it holds from its first moment to its last."""
    log = os.open(home.logs / "console-build.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "silo_node.console.build_work", str(home.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
        )
    finally:
        os.close(log)
    threading.Thread(target=process.wait, daemon=True).start()
