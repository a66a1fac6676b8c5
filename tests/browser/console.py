"""The console as its own process, and a page that is signed in to it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from silo_node.console.people import People
from silo_node.state import Home


@dataclass(frozen=True)
class RunningConsole:
    """A console that listens."""

    url: str
    home: Home
    process: subprocess.Popen[bytes]

    def link(self, person: str = "m.okafor") -> str:
        """Return a one-time link."""
        return f"{self.url}/sign-in?key={People(self.home).new_link(person)}"


@contextmanager
def running_console(home: Home, folder: Path) -> Iterator[RunningConsole]:
    """Run ``silo-node console`` on a home inside the block."""
    ready = folder / "console.ready"
    called = [sys.executable, "-m", "silo_node.cli", "--home", str(home.path), "console", "--port", "0"]
    with (folder / "console.log").open("wb") as log:
        process = subprocess.Popen([*called, "--ready-file", str(ready)], stdout=log, stderr=log)
    deadline = time.monotonic() + 30
    while not ready.exists():
        assert process.poll() is None, (folder / "console.log").read_text()
        assert time.monotonic() < deadline, "the console does not start"
        time.sleep(0.02)
    try:
        yield RunningConsole(json.loads(ready.read_text())["url"], home, process)
    finally:
        process.terminate()
        process.wait(10)
