"""The jail made by bubblewrap, Debian's small, unprivileged sandbox program.

Works as root in a container and as an ordinary user. What the jail sees is: the Python installation, the packages
``pipelines`` and ``benchmarks``, ``/usr`` and the loader's cache, all read-only; the task's own binds; an empty
``/tmp`` of limited size. Its root is read-only, so nothing can be filled up unseen.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from silo_node.sandbox.cgroups import available
from silo_node.sandbox.jail import Jail
from silo_node.sandbox.limits import MEGABYTE, Bind, Limits
from silo_node.sandbox.seccomp import filter_program
from silo_node.wire.errors import SandboxUnavailable, WorkFailed

CODE = "/code"
CODE_PACKAGES = ("pipelines", "benchmarks")
LIBRARIES = ("monai", "numpy", "pydantic", "torch")
"""What every job imports, so it must be installed where a jail sees it."""
ADDRESS_SPACE_SLACK_MB = 16_000
"""Libraries reserve far more addresses than memory (torch alone over 4 GB): that limit only stops absurd requests."""
SHARED_MEMORY_MB = 64
NOBODY = "65534"


@dataclass(frozen=True)
class Bubblewrap:
    """The programs the jail is made with, and whether this machine lets it make a user namespace."""

    bwrap: str
    prlimit: str
    user_namespace: bool
    jailed: bool = True

    @classmethod
    def find(cls) -> "Bubblewrap":
        """Return a driver that was tried; raises :class:`SandboxUnavailable` with what is missing."""
        return _find()

    def start(self, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, *, log: Path | None = None) -> Jail:
        """Start a program in a new jail; see :meth:`silo_node.sandbox.Sandbox.start`."""
        for bind in binds:
            if not bind.source.exists():
                raise WorkFailed("work-failed", f"{bind.source.name} is not there to be shown to the jail")
        hierarchies = available()
        group = hierarchies.make(limits) if hierarchies is not None else None
        with _Filter() as filter_fd:
            command = [*self.limited(limits), *self.command(argv, binds, limits, filter_fd)]
            command = group.entering(command) if group is not None else command
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                pass_fds=() if filter_fd is None else (filter_fd,),
                start_new_session=True,
            )
        return Jail(process, limits, log, group)

    def limited(self, limits: Limits) -> list[str]:
        """Return the command that sets the kernel's limits for one process, to put before another command."""
        return limited(self.prlimit, limits)

    def command(
        self, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, filter_fd: int | None = None
    ) -> list[str]:
        """Return the whole bubblewrap command line."""
        line = [self.bwrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        line += ["--unshare-user", "--uid", NOBODY, "--gid", NOBODY] if self.user_namespace else []
        line += ["--cap-drop", "ALL", "--hostname", "jail", "--new-session", "--die-with-parent", "--clearenv"]
        line += [] if filter_fd is None else ["--seccomp", str(filter_fd)]
        line += _system(limits)
        for bind in [*code(), *binds]:
            line += ["--bind" if bind.writable else "--ro-bind", str(bind.source.resolve()), bind.target]
        for name, value in environment(limits, CODE).items():
            line += ["--setenv", name, value]
        return [*line, "--remount-ro", "/", "--chdir", "/tmp", "--", *argv]  # noqa: S108

    def refusal(self) -> str | None:
        """Try to start a program; return what the sandbox says where it cannot."""
        try:
            tried = subprocess.run(
                self.command(["/usr/bin/true"], [], Limits()), capture_output=True, timeout=20, env={}, cwd="/"
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return type(error).__name__
        return (
            None if tried.returncode == 0 else tried.stderr.decode(errors="replace").strip()[:200] or "no reason given"
        )


def limited(prlimit: str, limits: Limits) -> list[str]:
    """Return ``prlimit`` with the limits the kernel keeps for each process of a jail."""
    address_space = (limits.memory_mb + ADDRESS_SPACE_SLACK_MB) * MEGABYTE
    return [
        prlimit,
        f"--as={address_space}",
        f"--fsize={limits.file_mb * MEGABYTE}",
        f"--nofile={limits.open_files}",
        # One, not zero: a kernel that hands dumps to a program ignores a limit of zero.
        "--core=1",
        "--",
    ]


def environment(limits: Limits, code_path: str) -> Mapping[str, str]:
    """Return the few variables a jailed program gets; nothing of the node's own."""
    threads = {name: str(limits.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108
        "TMPDIR": "/tmp",  # noqa: S108
        "USER": "worker",
        "LOGNAME": "worker",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONPATH": code_path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        **threads,
        **limits.environment,
    }


def code() -> Iterator[Bind]:
    """Yield binds for the packages a jail may import: never the node's own, and never the folder they lie in."""
    for package in CODE_PACKAGES:
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations or [])[:1] if found else []:
            yield Bind(Path(place), f"{CODE}/{package}")


def beyond_sight() -> list[str]:
    """Return the libraries that are installed here and hidden from a jail: a user's own, or another environment's."""
    shown = [Path(place).resolve() for place in ("/usr", *_installation())]
    hidden = []
    for name in LIBRARIES:
        found = importlib.util.find_spec(name)
        if found and found.origin and not any(Path(found.origin).resolve().is_relative_to(place) for place in shown):
            hidden.append(name)
    return hidden


def _installation() -> list[str]:
    """Return the folders of the Python installation, as a jail sees them: its own and the one it was made from."""
    return list(dict.fromkeys([sys.prefix, sys.base_prefix, sys.exec_prefix]))


def _system(limits: Limits) -> list[str]:
    """Return the arguments for what every program needs: the interpreter, the C library, /proc, /dev and /tmp."""
    line = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        place = Path("/") / name
        if place.is_symlink():
            line += ["--symlink", os.readlink(place), str(place)]
        elif place.is_dir():
            line += ["--ro-bind", str(place), str(place)]
    line += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    line += ["--proc", "/proc", "--dev", "/dev", "--size", str(SHARED_MEMORY_MB * MEGABYTE), "--tmpfs", "/dev/shm"]  # noqa: S108
    line += ["--size", str(limits.scratch_mb * MEGABYTE), "--tmpfs", "/tmp"]  # noqa: S108
    # After /tmp, which would hide an installation that lies below it.
    for prefix in _installation():
        if not Path(prefix).resolve().is_relative_to("/usr"):
            line += ["--ro-bind", str(Path(prefix).resolve()), prefix]
    # Of a node that runs as root the jail's user is, to /proc/sys, still root: it could set the program that the
    # kernel starts, outside, for a core dump.
    for device in limits.devices:
        line += ["--dev-bind", device, device]
    return [*line, "--remount-ro", "/dev", "--remount-ro", "/proc"]


class _Filter:
    """The seccomp program in an anonymous file whose descriptor bubblewrap inherits and reads."""

    def __enter__(self) -> int | None:
        self._descriptor: int | None = None
        program = filter_program()
        if program is not None:
            self._descriptor = os.memfd_create("seccomp", 0)
            os.write(self._descriptor, program)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


@lru_cache(maxsize=1)
def _find() -> Bubblewrap:
    programs = {name: shutil.which(name, path="/usr/bin:/bin:/usr/local/bin") for name in ("bwrap", "prlimit")}
    if programs["bwrap"] is None or programs["prlimit"] is None:
        missing = ", ".join(name for name, place in programs.items() if place is None)
        raise SandboxUnavailable("sandbox-unavailable", f"{missing} is not installed")
    hidden = beyond_sight()
    if hidden:
        raise SandboxUnavailable("sandbox-incomplete", f"outside of {sys.prefix}: {', '.join(hidden)}")
    driver = Bubblewrap(programs["bwrap"], programs["prlimit"], user_namespace=True)
    refusal = driver.refusal()
    if refusal is not None and os.geteuid() == 0:
        driver = replace(driver, user_namespace=False)
        refusal = driver.refusal()
    if refusal is not None:
        raise SandboxUnavailable("sandbox-unavailable", f"bubblewrap does not work on this machine: {refusal}")
    return driver
