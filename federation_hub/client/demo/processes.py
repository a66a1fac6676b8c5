"""The demonstration's operating-system processes: started in groups of their own, logged, and never left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from silo_node.wire.errors import PROBLEMS, MedSiloError, WorkFailed

_POLL_SECONDS = 0.05
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Child:
    """A process we started, and the file that holds what it says."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stays: bool
    """It runs until it is stopped, as a hub and a node do; a command ends by itself."""

    @property
    def fell(self) -> bool:
        """Whether it has ended and should not have."""
        status = self.process.poll()
        return status is not None and (self.stays or status != 0)

    @property
    def ending(self) -> str:
        """How it ended, and where the rest is to be read."""
        status = self.process.returncode
        how = f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
        return f"{self.name} {how} (log: {self.log})"

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and everything it started; nothing happens where all of them are gone."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return


@dataclass
class Processes:
    """Every process of one demonstration. Leaving the ``with`` block ends all of them, whatever happened."""

    logs: Path
    environment: Mapping[str, str]
    grace_seconds: float = 5.0
    """How long a process has to end by itself before it is killed."""

    _children: list[Child] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def __enter__(self) -> "Processes":
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()

    def start(self, name: str, module: str, arguments: Sequence[str]) -> Child:
        """Start ``python -m module arguments`` with its output in ``logs/name.log``."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as stream:
            return self._spawn(name, module, arguments, stdout=stream, stderr=stream, log=log, stays=True)

    def run(self, name: str, module: str, arguments: Sequence[str]) -> Any:
        """Run one command to its end and return the JSON document it printed, or ``None`` where it printed none.

        Raises ``MedSiloError`` with the command's own code where it ended with one, else ``WorkFailed``.
        """
        log = self.logs / f"{name}.log"
        with log.open("ab") as stream:
            start = stream.tell()
            child = self._spawn(name, module, arguments, stdout=subprocess.PIPE, stderr=stream, log=log, stays=False)
            printed, _ = child.process.communicate()
        if child.process.returncode != 0:
            raise _failure(name, arguments, log, start)
        return json.loads(printed) if printed.strip() else None

    def check_alive(self) -> None:
        """Raise ``WorkFailed`` with its log's last words where a process that should be running has ended."""
        for child in self._children:
            if child.fell:
                said = child.log.read_text(errors="replace").strip().splitlines()[-2:]
                raise WorkFailed("work-failed", f"{child.ending}: {' '.join(said)}")

    def stay(self) -> None:
        """Wait for ever; raise ``WorkFailed`` as soon as a process that should be running has ended."""
        while True:
            self.check_alive()
            time.sleep(_LOOK_SECONDS)

    def stop_all(self) -> None:
        """Ask every process group to end, wait a few seconds, then end what is left."""
        with self._lock:
            self._closed = True
            running = [child for child in self._children if child.process.poll() is None]
        for child in running:
            child.signal_group(signal.SIGTERM)
        deadline = time.monotonic() + self.grace_seconds
        while time.monotonic() < deadline and any(child.process.poll() is None for child in running):
            time.sleep(_POLL_SECONDS)
        for child in running:
            child.signal_group(signal.SIGKILL)
            child.process.wait()

    def _spawn(
        self, name: str, module: str, arguments: Sequence[str], *, log: Path, stays: bool, **streams: Any
    ) -> Child:
        with self._lock:
            if self._closed:
                raise WorkFailed("work-failed", "the demonstration is being stopped")
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                env=dict(self.environment),
                start_new_session=True,
                **streams,
            )
            child = Child(name=name, process=process, log=log, stays=stays)
            self._children.append(child)
        return child


def _failure(name: str, arguments: Sequence[str], log: Path, start: int) -> MedSiloError:
    """Return the coded error a command printed to its log, or one that says where the log is."""
    said = log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
    what = f"{name}: {' '.join(arguments[:4])} (log: {log})"
    for line in reversed(said):
        try:
            code = json.loads(line)["code"]
        except (ValueError, KeyError, TypeError):
            continue
        if code in PROBLEMS:
            return MedSiloError(code, what)
    return WorkFailed("work-failed", what)
