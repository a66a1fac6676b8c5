"""A running jail: talk to it by lines, wait for it, end it with everything it started, and hold it to its limits.

Limits that the kernel keeps for one process (file size, address space, open files, core dumps) are set before the
program starts. Limits on the whole jail (wall clock, memory in use, number of processes) are kept by a thread that
looks every fifth of a second, because control groups are not there on every hospital's machine. Where they are
(:mod:`silo_node.sandbox.cgroups`), the kernel keeps memory and processes as well, and at once.
"""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol

from silo_node.sandbox.limits import MEGABYTE, Limits

Exceeded = Literal["wall-clock", "memory", "processes", "output"]
LOOK_SECONDS = 0.2
LINE_BYTES = 65_536
LOG_BYTES = 1_000_000


@dataclass(frozen=True)
class Ending:
    """How a jail ended: its exit status (128 plus the signal's number when killed) and the limit it went over."""

    status: int
    exceeded: Exceeded | None

    @property
    def well(self) -> bool:
        """Return whether it ended by itself and without complaint."""
        return self.status == 0 and self.exceeded is None


class Kept(Protocol):
    """What the machine keeps a jail in besides its processes: control groups, or a container."""

    def killed_for_memory(self) -> bool:
        """Tell whether it was ended because its memory was used up."""
        ...

    def remove(self) -> None:
        """Take it away, with whatever still runs in it."""
        ...


class Jail:
    """A started program. Its methods may be called from several threads."""

    def __init__(
        self, process: subprocess.Popen[bytes], limits: Limits, log: Path | None, group: Kept | None = None
    ) -> None:
        self._process = process
        self._group = group
        self._limits = limits
        self._deadline = time.monotonic() + limits.wall_seconds
        self._exceeded: Exceeded | None = None
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=256)
        self._ended = threading.Event()
        for work in (self._watch, self._read_output, lambda: self._keep_log(log)):
            threading.Thread(target=work, name="jail", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id of the jail's outermost process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def allow(self, seconds: float) -> None:
        """Set the wall-clock limit anew, counted from now."""
        self._deadline = time.monotonic() + seconds

    def send(self, line: str) -> bool:
        """Write one line to standard input; return False where nobody reads any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return False
        return True

    def close_input(self) -> None:
        """Close standard input, so that a program that reads to its end goes on."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def read_line(self, timeout: float | None = None) -> bytes | None:
        """Return the next line of standard output, or None at its end; raises ``TimeoutError``."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            self._lines.put(None)
        return line

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of standard output to its end."""
        while (line := self.read_line()) is not None:
            yield line

    def wait(self, timeout: float | None = None) -> Ending:
        """Wait for the end; raises ``TimeoutError``."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        self._ended.set()
        self.close_input()
        group, self._group = self._group, None
        if group is not None:
            if self._exceeded is None and status != 0 and group.killed_for_memory():
                self._exceeded = "memory"
            group.remove()
        return Ending(status if status >= 0 else 128 - status, self._exceeded)

    def kill(self) -> Ending:
        """End the jail and everything in it at once, and wait until it is gone."""
        _kill_tree(self._process)
        return self.wait()

    def _stop(self, exceeded: Exceeded) -> None:
        if self._exceeded is None and self.running:
            self._exceeded = exceeded
        _kill_tree(self._process)

    def _watch(self) -> None:
        while self.running and not self._ended.wait(LOOK_SECONDS):
            exceeded = self._over_limit()
            if exceeded is not None:
                self._stop(exceeded)
                return

    def _over_limit(self) -> Exceeded | None:
        if time.monotonic() > self._deadline:
            return "wall-clock"
        processes = list(descendants(self.pid))
        if len(processes) > self._limits.processes:
            return "processes"
        if sum(map(memory_in_use, processes)) > self._limits.memory_mb * MEGABYTE:
            return "memory"
        return None

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(LINE_BYTES + 1):
                if len(line) > LINE_BYTES:
                    self._stop("output")
                    break
                self._offer(line)
        self._offer(None)

    def _offer(self, line: bytes | None) -> None:
        """Hand a line to the reader; a full queue holds the program back until it is read or ended."""
        while True:
            with contextlib.suppress(queue.Full):
                return self._lines.put(line, timeout=LOOK_SECONDS)
            if self._ended.is_set():
                return

    def _keep_log(self, log: Path | None) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream, _log_file(log) as file:
            room = LOG_BYTES
            while block := stream.read1(LINE_BYTES):  # type: ignore[attr-defined]  # the pipe is a BufferedReader
                file.write(block[:room])
                file.flush()
                room -= min(room, len(block))


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and everything below it, as the host numbers them."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from descendants(int(child))


def memory_in_use(pid: int) -> int:
    """Return the bytes of memory that only this process keeps from being free: anonymous and shared, not files."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return 0


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its descendants. In a jail the first kill is enough: the others die with their init."""
    if process.poll() is not None:
        return
    for pid in list(descendants(process.pid)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _log_file(log: Path | None) -> IO[bytes]:
    if log is None:
        return open(os.devnull, "wb")
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return log.open("ab")
