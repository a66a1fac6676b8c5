"""The console as its own process, and a page that is signed in to it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from silo_node.console.people import People
from silo_node.state import Home

STEWARD = "m.okafor"
"""Who signs in at a console where nobody else is named."""


@dataclass(frozen=True)
class RunningConsole:
    """A console that listens."""

    url: str
    home: Home
    process: subprocess.Popen[bytes]

    def link(self, person: str = STEWARD) -> str:
        """Return a one-time link."""
        return f"{self.url}/sign-in?key={People(self.home).new_link(person)}"


@contextmanager
def running_console(home: Home, folder: Path, **variables: str) -> Iterator[RunningConsole]:
    """Run ``silo-node console`` on a home inside the block. ``variables`` go to its environment."""
    ready = folder / "console.ready"
    called = [sys.executable, "-m", "silo_node.cli", "--home", str(home.path), "console", "--port", "0"]
    with (folder / "console.log").open("wb") as log:
        called += ["--ready-file", str(ready)]
        process = subprocess.Popen(called, stdout=log, stderr=log, env={**os.environ, **variables})
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


def enter(page: Page, console: RunningConsole) -> None:
    """Sign in with a one-time link."""
    page.goto(console.link())
    page.get_by_role("button", name="Open the console").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Images stay here")


def told(page: Page) -> Locator:
    """Return what the console says of what was done last."""
    return page.locator(".notice[role=status]")
