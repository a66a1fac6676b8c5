"""Limits of memory and processes that the kernel keeps for a whole jail, where this machine has control groups for us.

Two kinds are known: one hierarchy for everything (version 2), in which systemd must have delegated the node's own group
(``Delegate=yes``), and one for each resource (version 1), which a node that runs as root may use. Where there is
neither, a thread that looks every fifth of a second keeps the same limits (:mod:`silo_node.sandbox.jail`).
Source: Linux ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/``.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from silo_node.sandbox.limits import MEGABYTE, Limits

ROOT = Path("/sys/fs/cgroup")
SLACK = 8
"""Processes besides those of the program: bubblewrap itself, and threads of a jail count here too."""

THREADS_A_PROCESS = 16
_PREFIX = "medsilo-jail-"


@dataclass(frozen=True)
class Hierarchies:
    """Where a node may make groups: one folder a resource; the same one twice in version 2."""

    memory: Path
    processes: Path
    version: int

    def make(self, limits: Limits) -> "Group | None":
        """Make the groups of one jail; None where the machine will not have it."""
        name = f"{of_process(os.getpid())}{secrets.token_hex(4)}"
        group = Group(tuple(dict.fromkeys((self.memory / name, self.processes / name))), self.version)
        most = str((limits.processes + SLACK) * THREADS_A_PROCESS)
        memory = str(limits.memory_mb * MEGABYTE)
        try:
            for folder in group.folders:
                folder.mkdir()
            (self.processes / name / "pids.max").write_text(most)
            if self.version == 2:
                (self.memory / name / "memory.max").write_text(memory)
                (self.memory / name / "memory.oom.group").write_text("1")
            else:
                (self.memory / name / "memory.limit_in_bytes").write_text(memory)
        except OSError:
            group.remove()
            return None
        return group


@dataclass(frozen=True)
class Group:
    """The groups of one jail."""

    folders: tuple[Path, ...]
    version: int

    def entering(self, argv: Sequence[str]) -> list[str]:
        """Return a command that puts itself into the groups and then becomes the given one."""
        enter = "".join('echo $$ > "$1/cgroup.procs" || exit 125; shift; ' for _ in self.folders)
        return ["/bin/sh", "-c", f'{enter}exec "$@"', "enter", *map(str, self.folders), *argv]

    def killed_for_memory(self) -> bool:
        """Tell whether the kernel ended a process of the jail because its memory was used up."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        with contextlib.suppress(OSError):
            lines = (self.folders[0] / name).read_text().splitlines()
            return any(line.split()[0] == "oom_kill" and int(line.split()[1]) > 0 for line in lines)
        return False

    def remove(self) -> None:
        """Take the groups away; a process that is just ending keeps one for a moment."""
        for folder in self.folders:
            for _ in range(20):
                with contextlib.suppress(FileNotFoundError):
                    try:
                        folder.rmdir()
                    except OSError:
                        time.sleep(0.02)
                        continue
                break


def of_process(pid: int) -> str:
    """Return how the names of a process's groups begin: its number, and when it started, since numbers come again."""
    return f"{_PREFIX}{pid}-{_started(pid)}-"


@lru_cache(maxsize=1)
def available() -> Hierarchies | None:
    """Return where this node may make groups, tried once with a real one; None where it may not.

    The empty groups of killed nodes go at the same time. Where none ever starts again in the same place, an empty
    group stays until the machine does; systemd takes those of its units away itself.
    """
    for found in (_version_2(), _version_1()):
        group = found.make(Limits()) if found is not None else None
        if found is not None and group is not None:
            group.remove()
            _sweep(found)
            return found
    return None


def _sweep(found: Hierarchies) -> None:
    """Remove the empty groups of nodes that were killed."""
    for folder in {*found.memory.glob(f"{_PREFIX}*"), *found.processes.glob(f"{_PREFIX}*")}:
        number = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not folder.name.startswith(of_process(int(number) if number.isdigit() else 0)):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks since it did; ``gone`` where there is none."""
    try:
        # The second field is the program's name, in brackets, which may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "gone"


def _own(controller: str) -> Path | None:
    """Return this process's group of one hierarchy, relative to its root; the empty name is version 2's."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if controller in names.split(","):
                return Path(path.lstrip("/"))
    return None


def _version_2() -> Hierarchies | None:
    own = _own("")
    if own is None or not (ROOT / "cgroup.controllers").exists():
        return None
    place = ROOT / own
    try:
        # A group with processes of its own gives its children no controllers, so the node moves into a leaf.
        if place.name != "node":
            (place / "node").mkdir(exist_ok=True)
            (place / "node" / "cgroup.procs").write_text(str(os.getpid()))
        else:
            place = place.parent
        (place / "cgroup.subtree_control").write_text("+memory +pids")
    except OSError:
        return None
    return Hierarchies(place, place, 2)


def _version_1() -> Hierarchies | None:
    memory, processes = _own("memory"), _own("pids")
    if memory is None or processes is None:
        return None
    places = ROOT / "memory" / memory, ROOT / "pids" / processes
    writable = all(os.access(place, os.W_OK) for place in places)
    return Hierarchies(*places, 1) if writable else None
