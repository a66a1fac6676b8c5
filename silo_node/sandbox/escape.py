"""The program that tries to get out of a jail. It runs inside one, alone, and needs nothing but Python's own library.

Its one argument is a JSON object of baits the host has laid out; it prints one JSON line a probe, ``out`` being whether
the attempt succeeded. Nothing it does harms a machine on which it succeeds: files are opened and left as they are.
``silo_node.sandbox.probes`` starts it and judges; a probe without a line counts as one that got out.
"""

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

ABSURD_BYTES = 100_000_000_000
SECONDS = 0.5
_PTRACE_ATTACH = 16
_MAP_NORESERVE = 0x4000
_CLONE_NEWUSER, _CLONE_NEWNS, _CLONE_NEWNET = 0x10000000, 0x00020000, 0x40000000


class Held(Exception):
    """The attempt came to nothing, for the reason in the message."""


def tcp(baits: dict[str, Any]) -> None:
    """Connect to a server on the host's loopback."""
    socket.create_connection(("127.0.0.1", baits["tcp"]), SECONDS).close()


def udp(baits: dict[str, Any]) -> None:
    """Send a datagram to the host's loopback; the host looks whether it came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(baits["token"].encode(), ("127.0.0.1", baits["udp"]))


def dns(baits: dict[str, Any]) -> None:
    """Send a question to each name server the host uses."""
    query = b"\x13\x37\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
    refused = OSError()
    for server in baits["nameservers"]:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                sender.sendto(query, (server, 53))
                return
        except OSError as error:
            refused = error
    raise refused


def unix(baits: dict[str, Any]) -> None:
    """Connect to a daemon's socket by its path, as Docker's would be."""
    _connect_unix(baits["unix"])


def abstract(baits: dict[str, Any]) -> None:
    """Connect to a socket that has a name and no file."""
    _connect_unix("\0" + baits["abstract"])


def netlink(_: dict[str, Any]) -> None:
    """Open the kernel's own channel for network settings."""
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


def vsock(_: dict[str, Any]) -> None:
    """Open a socket to the machine that hosts this virtual one."""
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


def packet(_: dict[str, Any]) -> None:
    """Open a socket below IP."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def files(baits: dict[str, Any]) -> None:
    """Read what lies beside the folder that was given, the node's own files, and the machine's."""
    for path in [*baits["hidden"], "/shown/../hidden/bait", "/proc/1/root" + baits["hidden"][0]]:
        if os.path.exists(path):
            return
    for path, identity in baits["machine"].items():
        if os.path.exists(path) and [os.stat(path).st_dev, os.stat(path).st_ino] == identity:
            return
    skipped = ("/proc", "/sys", "/usr", "/dev", "/code", sys.prefix, sys.base_prefix)
    for folder, below, names in os.walk("/"):
        below[:] = [name for name in below if os.path.join(folder, name) not in skipped]
        if "bait" in names:
            return
    raise Held("not there")


def writes(baits: dict[str, Any]) -> None:
    """Change the input, or leave a file anywhere but in the scratch folder."""
    for path in ("/shown/seen", *(f"{place}/.planted" for place in ("/shown", "/", "/usr", "/code"))):
        if _opens(path, os.O_WRONLY | os.O_CREAT):
            return
    raise Held("read-only")


def kernel(_: dict[str, Any]) -> None:
    """Reach the kernel's settings, its memory, or a disk."""
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/dev/mem", "/proc/kcore", "/dev/sda"):
        if _opens(path, os.O_WRONLY):
            return
    raise Held("read-only")


def environment(baits: dict[str, Any]) -> None:
    """Find a variable of the node's."""
    if baits["token"] not in os.environ.values():
        raise Held("cleared")


def processes(baits: dict[str, Any]) -> None:
    """See another process than this program's own and the jail's first."""
    own = {1, os.getpid(), os.getppid()}
    seen = {int(name) for name in os.listdir("/proc") if name.isdigit()} - own
    if not seen and os.readlink("/proc/self/ns/pid") != baits["process_namespace"]:
        raise Held("own process table")


def ptrace(_: dict[str, Any]) -> None:
    """Trace another process."""
    child = _child(time.sleep, 5)
    try:
        _call("ptrace", _PTRACE_ATTACH, child, 0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def namespaces(_: dict[str, Any]) -> None:
    """Make a namespace of its own, where it would have every right."""
    for flag in (_CLONE_NEWUSER, _CLONE_NEWNS, _CLONE_NEWNET):
        if _ended(_child(_unshare, flag)) == 0:
            return
    raise Held("refused")


def memory(_: dict[str, Any]) -> None:
    """Ask for a hundred gigabytes."""
    mmap.mmap(-1, ABSURD_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE).close()


def core_dump(_: dict[str, Any]) -> None:
    """Crash, so that the memory with the images in it is written to a file."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] not in (0, 1):
        return
    if not os.WCOREDUMP(_status(_child(os.abort))):
        raise Held("no dump")


def fork_bomb(baits: dict[str, Any]) -> None:
    """Start more processes than allowed. The last probe: being ended for it is how some jails hold."""
    children = []
    try:
        for _ in range(baits["processes"] + 1):
            children.append(_child(time.sleep, 5))
        time.sleep(2.5)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


PROBES: tuple[Callable[[dict[str, Any]], None], ...] = (
    tcp,
    udp,
    dns,
    unix,
    abstract,
    netlink,
    vsock,
    packet,
    files,
    writes,
    kernel,
    environment,
    processes,
    ptrace,
    namespaces,
    memory,
    core_dump,
    fork_bomb,
)


def attempt(probe: Callable[[dict[str, Any]], None], baits: dict[str, Any]) -> dict[str, Any]:
    """Try one probe and return its line."""
    try:
        probe(baits)
    except (Held, OSError, MemoryError, ValueError) as refusal:
        how = str(refusal) if isinstance(refusal, Held) else type(refusal).__name__
        return {"probe": probe.__name__, "out": False, "how": how}
    return {"probe": probe.__name__, "out": True, "how": "nothing stopped it"}


def _connect_unix(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(address)


def _opens(path: str, flags: int) -> bool:
    there = os.path.lexists(path)
    try:
        os.close(os.open(path, flags, 0o600))
    except OSError:
        return False
    if not there:
        os.unlink(path)
    return True


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def _unshare(flag: int) -> None:
    _call("unshare", flag)


def _child(work: Callable[..., object], *arguments: object) -> int:
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def _status(child: int) -> int:
    return os.waitpid(child, 0)[1]


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(_status(child))


if __name__ == "__main__":
    for one in PROBES:
        sys.stdout.write(json.dumps(attempt(one, json.loads(sys.argv[1]))) + "\n")
        sys.stdout.flush()
