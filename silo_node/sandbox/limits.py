"""What a jail may see and use, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from silo_node.wire.errors import WorkFailed

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Bind:
    """One file or folder of the host as the jail sees it, read-only unless ``writable``.

    Bind a task's own folder, never its parent: what lies beside it would be seen too.
    """

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Limits:
    """What one jail may use. Going over one ends it, and :attr:`Ending.exceeded` names which."""

    wall_seconds: float = 3600.0
    memory_mb: int = 16_000
    """Anonymous and shared memory of all processes of the jail together."""

    file_mb: int = 8_000
    scratch_mb: int = 1_000
    processes: int = 64
    """Processes of the jail at a time (threads do not count)."""

    open_files: int = 1024
    threads: int = 1
    """What numerical libraries are told to use."""

    devices: tuple[str, ...] = ()
    """Device files the jail gets besides the harmless ones: a graphics card's, and nothing else of the machine."""

    environment: dict[str, str] = field(default_factory=dict)
    """Variables to set besides the few every jail has; nothing of the node's own environment is passed on."""


def outside(path: PurePosixPath, binds: Sequence[Bind]) -> Path:
    """Return the host's path of a file a jailed program names.

    Only names in a writable bind count, without ``..`` and without links on the way: the program is not trusted.
    Raises :class:`WorkFailed` with ``output-invalid`` for any other.
    """
    for bind in binds:
        for root in {bind.target, str(bind.source)}:
            if bind.writable and path.is_relative_to(root) and ".." not in path.parts:
                found = bind.source / path.relative_to(root)
                if found.resolve() == bind.source.resolve() / path.relative_to(root):
                    return found
    raise WorkFailed("output-invalid", "the work named a file outside its folder")
