"""Does the jail hold? A program that tries to get out is run in it, and every attempt must come to nothing.

Run at each start of a node, which takes no work where one probe gets out, and by ``silo-node doctor``. One process, no
library beyond Python's own, well under a second.
"""

import json
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silo_node.sandbox import escape
from silo_node.sandbox.driver import Sandbox
from silo_node.sandbox.jail import Ending, Jail
from silo_node.sandbox.limits import Bind, Limits
from silo_node.wire.errors import SandboxUnavailable

PROCESSES = 16
"""How many processes the probes' jail may have; the last probe tries one more."""

LIMITS = Limits(wall_seconds=60, memory_mb=500, file_mb=1, scratch_mb=16, processes=PROCESSES)
MACHINE_FILES = ("/etc", "/etc/shadow", "/etc/passwd", "/home", "/root", "/var", "/run", "/sys", "/srv")
"""Places of the machine that no jail shows; one of the same name inside must be another."""

TITLES = {
    "tcp": "a connection to a server on this machine",
    "udp": "a datagram to this machine",
    "dns": "a question to a name server",
    "unix": "a daemon's socket",
    "abstract": "a socket that has no file",
    "netlink": "the kernel's network settings",
    "vsock": "a socket to the virtual machine's host",
    "packet": "a socket below IP",
    "files": "files it was not given",
    "writes": "a change to the input, or a file left behind",
    "kernel": "the kernel's settings, its memory, a disk",
    "environment": "the node's environment",
    "processes": "other processes",
    "ptrace": "tracing another process",
    "namespaces": "namespaces of its own",
    "memory": "a hundred gigabytes of memory",
    "core_dump": "a core dump with images in it",
    "fork_bomb": "processes without number",
}
"""What each probe reaches for, in words."""


@dataclass(frozen=True)
class ProbeResult:
    """One attempt: whether the jail held, and how."""

    name: str
    held: bool
    how: str
    """The kind of error it met, ``nothing stopped it``, or the limit that ended it."""

    @property
    def title(self) -> str:
        return TITLES[self.name]


def run(sandbox: Sandbox, hidden: Sequence[Path] = ()) -> list[ProbeResult]:
    """Try to get out of a jail made by ``sandbox``; return one result a probe, in the order of :data:`TITLES`.

    ``hidden`` are files of the node that no jail may see, besides the machine's. Raises
    :class:`SandboxUnavailable` where no jail can be started at all.
    """
    with _baits(hidden) as (baits, folder, datagrams):
        argv = [sys.executable, "-I", "-S", "-c", Path(escape.__file__).read_text("utf-8"), json.dumps(baits)]
        os.environ[_VARIABLE] = baits["token"]
        try:
            jail = sandbox.start(argv, [Bind(folder / "shown", "/shown")], LIMITS)
        finally:
            del os.environ[_VARIABLE]
        lines = _told(jail)
        results = _judged(lines, jail.wait(LIMITS.wall_seconds))
        return [_arrived(result) if result.name == "udp" and _pending(datagrams) else result for result in results]


def refuse_escape(results: Sequence[ProbeResult]) -> None:
    """Raise :class:`SandboxUnavailable` ``sandbox-escape`` where a probe got out, naming what it reached."""
    out = [result.title for result in results if not result.held]
    if out:
        raise SandboxUnavailable("sandbox-escape", "; ".join(out))


_VARIABLE = "SILO_NODE_PROBE"


def _told(jail: Jail) -> dict[str, dict[str, Any]]:
    """Return the lines of the program by probe; what is no such line is left out, and so counts as an escape."""
    jail.close_input()
    found = {}
    for line in jail.lines():
        value = json.loads(line)
        found[value["probe"]] = value
    return found


def _judged(lines: dict[str, dict[str, Any]], ending: Ending) -> list[ProbeResult]:
    results = []
    for name in TITLES:
        if name in lines:
            results.append(ProbeResult(name, not lines[name]["out"], lines[name]["how"]))
        elif name == "fork_bomb" and ending.exceeded == "processes":
            results.append(ProbeResult(name, True, "ended by its limit"))
        else:
            results.append(ProbeResult(name, False, f"no answer: exit status {ending.status}"))
    return results


def _arrived(result: ProbeResult) -> ProbeResult:
    return ProbeResult(result.name, False, "the datagram arrived")


def _pending(receiver: socket.socket) -> bool:
    try:
        return bool(receiver.recv(1, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


@contextmanager
def _baits(hidden: Sequence[Path]) -> Iterator[tuple[dict[str, Any], Path, socket.socket]]:
    """Lay out what a jailed program must not reach: servers, sockets, a file beside the one it is given."""
    with (
        tempfile.TemporaryDirectory(prefix="probe-") as name,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as daemon,
        socket.socket(socket.AF_UNIX) as nameless,
    ):
        folder, token = Path(name), secrets.token_hex(16)
        for place in ("shown/seen", "hidden/bait"):
            (folder / place).parent.mkdir()
            (folder / place).write_text(token)
        datagrams.bind(("127.0.0.1", 0))
        daemon.bind(str(folder / "daemon.sock"))
        nameless.bind(f"\0medsilo-{token}")
        for listening in (daemon, nameless):
            listening.listen()
        baits = {
            "token": token,
            "process_namespace": os.readlink("/proc/self/ns/pid"),
            "tcp": server.getsockname()[1],
            "udp": datagrams.getsockname()[1],
            "nameservers": _nameservers(),
            "unix": str(folder / "daemon.sock"),
            "abstract": f"medsilo-{token}",
            "hidden": [str(folder / "hidden" / "bait"), *map(str, hidden)],
            "machine": {path: _identity(path) for path in MACHINE_FILES if os.path.exists(path)},
            "processes": PROCESSES,
        }
        yield baits, folder, datagrams


def _identity(path: str) -> list[int]:
    found = os.stat(path)
    return [found.st_dev, found.st_ino]


def _nameservers() -> list[str]:
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    found = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    # The stub of systemd-resolved too: where no route leads to the servers, they would tell nothing of the jail.
    return [*(address.partition("%")[0] for address in found), "127.0.0.53"]
