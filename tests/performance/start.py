"""How fast a hub and a node start, and how much memory an idle node takes.

::

    python -m tests.performance.start [--idle SECONDS]

Starts real processes in a temporary folder and prints a table. Memory is the resident set of the node's process and
everything below it, ``torch`` whether its library is mapped into any of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from federation_hub.client import Hub
from tests.conftest import HubProcess, start_hub, stop_hub

_LOOK_SECONDS = 0.01
_START_SECONDS = 60


def timed_hub(home: Path) -> tuple[HubProcess, float]:
    """Start the hub and return it with the seconds until it listens."""
    began = time.monotonic()
    hub = start_hub(home)
    return hub, time.monotonic() - began


def enrol_node(hub: HubProcess, home: Path) -> None:
    """Enrol a node and let the admin approve it."""
    admin = Hub(hub.url, hub.admin_token)
    invitation = admin.invite_silo("Measured", "Measured Hospital")
    called = node_command(home, "enrol", "--hub", hub.url, "--code", invitation["code"], "--json")
    receipt = json.loads(subprocess.run(called, check=True, capture_output=True, text=True).stdout)
    admin.approve_silo(invitation["silo_id"], receipt["fingerprint"])


def timed_node(home: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Start a node and return it with the seconds until it is at work."""
    ready = home.parent / "node.ready"
    ready.unlink(missing_ok=True)
    began = time.monotonic()
    with (home.parent / "node.log").open("ab") as log:
        process = subprocess.Popen(node_command(home, "start", "--ready-file", str(ready)), stdout=log, stderr=log)
    while not ready.exists():
        if process.poll() is not None or time.monotonic() - began > _START_SECONDS:
            process.kill()
            raise RuntimeError((home.parent / "node.log").read_text())
        time.sleep(_LOOK_SECONDS)
    return process, time.monotonic() - began


def node_command(home: Path, *arguments: str) -> list[str]:
    """Return a ``silo-node`` command line for one state folder."""
    return [sys.executable, "-m", "silo_node.cli", "--home", str(home), *arguments]


def family(pid: int) -> list[psutil.Process]:
    """Return a process and everything below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def maps_torch(processes: Sequence[psutil.Process]) -> bool:
    """Tell whether torch's library is mapped into any of these processes."""
    return any("libtorch" in entry.path for process in processes for entry in process.memory_maps())


def measure(idle: float) -> list[tuple[str, str, str]]:
    """Return rows of (what, measured, goal)."""
    with tempfile.TemporaryDirectory(prefix="medsilo-start-") as name:
        root = Path(name)
        hub, first = timed_hub(root / "hub")
        stop_hub(hub)
        hub, again = timed_hub(root / "hub")
        try:
            enrol_node(hub, root / "silo")
            node, start = timed_node(root / "silo")
            try:
                time.sleep(idle)
                processes = family(node.pid)
                resident = sum(process.memory_info().rss for process in processes) / 1e6
                torch = maps_torch(processes)
                hub_resident = psutil.Process(hub.process.pid).memory_info().rss / 1e6
            finally:
                node.terminate()
                node.wait(timeout=20)
        finally:
            stop_hub(hub)
    return [
        ("hub, first start (makes its database)", f"{first:.2f} s", ""),
        ("hub, start", f"{again:.2f} s", "under 2 s"),
        ("hub, idle memory", f"{hub_resident:.0f} MB", ""),
        ("node, start", f"{start:.2f} s", "under 2 s"),
        (f"node, memory after {idle:g} s idle", f"{resident:.1f} MB", "under 60 MB"),
        ("node, torch loaded", "yes" if torch else "no", "no"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to wait before memory is read")
    table = Table("what", "measured", "goal", title="Start and idle memory", title_justify="left")
    for row in measure(parser.parse_args().idle):
        table.add_row(*row)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
