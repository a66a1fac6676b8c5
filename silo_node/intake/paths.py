"""Files of a source: their stamp, their bytes within a limit, and what their names may give away."""

import os
from pathlib import Path, PurePosixPath

from silo_node.deidentify.identifiers import Identifiers, texts
from silo_node.wire.errors import BadInput

LARGEST_FILE = 2 * 2**30


def file_stamp(path: Path) -> str:
    """Return size and modification time, empty for a file that is gone by now."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


def read_limited(path: Path) -> bytes:
    """Return a file's bytes; raises ``file-undecodable`` when it is gone, unreadable, a pipe or far too large."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            raise BadInput("file-undecodable", "it is not a file, or too large")
        return path.read_bytes()
    except OSError:
        raise BadInput("file-undecodable", "it cannot be read") from None


def path_identifiers(locator: str) -> Identifiers:
    """Return what a path may tell about a patient: itself, and the name of each folder and file in it."""
    path = PurePosixPath(locator.partition("#")[0])
    return Identifiers(other=texts([locator, str(path), *path.parts, path.name.partition(".")[0]]))
