"""DCMTK's programs as peers.

pynetdicom installs scripts of the same names beside Python, so these are looked up among the system's.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_PLACES = "/usr/local/bin:/usr/bin:/usr/sbin"


def program(name: str) -> str:
    """Return a program's path; skip the test, or in CI fail it, without one."""
    found = shutil.which(name, path=_PLACES)
    if found is None:
        reason = f"{name} is not installed; run tests/install-system-packages"
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def storescu(
    port: int,
    files: Sequence[Path],
    *options: str,
    called: str = "MEDSILO",
    calling: str = "CT1",
) -> "subprocess.CompletedProcess[str]":
    """Send files on one association, none of them converted; ``options`` choose the transfer syntax it proposes."""
    command = [program("storescu"), "-v", "-aet", calling, "-aec", called, *options, "127.0.0.1", str(port)]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=60)


def dcmsend(port: int, files: Sequence[Path], *options: str, called: str = "MEDSILO") -> str:
    """Send files with whatever presentation contexts they need; return what the program tells."""
    command = [program("dcmsend"), "-v", "-aec", called, *options, "127.0.0.1", str(port), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr
