"""A silo that listens, in this process, for the peers of the tests."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from silo_node.config import ListenerSettings
from silo_node.deidentify.pixel_risk import RISKS
from silo_node.intake.objects.files import ObjectFiles
from silo_node.intake.objects.index import ObjectIndex, ObjectRow
from silo_node.intake.pacs.listener import Listener
from silo_node.intake.run import IntakeReport, IntakeRules
from silo_node.intake.standing import stand
from silo_node.state import Home

EVERY_RISK = frozenset(RISKS)


@dataclass
class Site:
    """A silo while it listens."""

    home: Home
    port: int = 0
    reports: "queue.Queue[IntakeReport]" = field(default_factory=queue.Queue)

    def next_report(self, seconds: float = 20) -> IntakeReport:
        """Wait for the next study to settle and be taken in."""
        return self.reports.get(timeout=seconds)


@contextmanager
def listening(home: Home, *, quiet_seconds: float = 0.2, quota: int | None = None, **settings: Any) -> Iterator[Site]:
    """Listen on a free port of this machine inside the block."""
    site, ready = Site(home), threading.Event()

    def tell(port: int) -> None:
        site.port = port
        ready.set()

    listener = Listener(ListenerSettings(**{"port": 0, **settings}), on_listening=tell)
    rules = IntakeRules("default", EVERY_RISK, quota)

    failures: list[Exception] = []

    def run() -> None:
        try:
            stand(home, listener, rules, quiet_seconds=quiet_seconds, on_report=site.reports.put, look_every=0.05)
        except Exception as failure:
            failures.append(failure)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        if not failures:
            yield site
    finally:
        listener.stop.set()
        thread.join()
    if failures:
        raise failures[0]


def kept(home: Home) -> dict[str, tuple[ObjectRow, Path]]:
    """Return what the private store has, by SOP Instance UID."""
    files = ObjectFiles(home)
    with ObjectIndex(home) as index:
        rows = [
            row
            for study in index.studies(limit=10_000)
            for row in index.objects_of_study(study.study, study.collection)
        ]
    return {row.instance: (row, files.path(row)) for row in rows}
