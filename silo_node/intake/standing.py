"""Sources that go on until they are stopped: cases are taken in while objects still arrive, study by study."""

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from silo_node.intake.objects.inbox import Inbox, Received
from silo_node.intake.objects.index import ObjectIndex
from silo_node.intake.objects.source import ObjectSource
from silo_node.intake.room import full_disk_is_told
from silo_node.intake.run import IntakeReport, IntakeRules, inbox_of, take_in_settled
from silo_node.state import Home
from silo_node.wire.errors import MedSiloError


class StandingSource(ObjectSource, Protocol):
    """A source whose ``deliver`` returns once ``stop`` is set."""

    stop: threading.Event


def stand(
    home: Home,
    source: StandingSource,
    rules: IntakeRules,
    *,
    quiet_seconds: float,
    on_report: Callable[[IntakeReport], None] = lambda report: None,
    look_every: float = 1.0,
) -> Received:
    """Deliver until ``source.stop`` is set, and take in each study once nothing came of it for ``quiet_seconds``.

    Returns what was delivered, while ``on_report`` is told about the cases. Raises what stops the source, such as
    ``listener-unavailable``. What arrived and was not yet taken in waits in the private store for the next run.
    """
    with full_disk_is_told(home), closing(inbox_of(home, source, rules)) as inbox:
        delivery = _Delivery(source, inbox)
        delivery.start()
        try:
            while not source.stop.wait(look_every):
                _take_in_what_settled(home, inbox, rules, quiet_seconds, on_report)
        finally:
            source.stop.set()
            delivery.join()
        if delivery.failure is not None:
            raise delivery.failure
        _take_in_what_settled(home, inbox, rules, quiet_seconds, on_report)
        return inbox.received


class _Delivery(threading.Thread):
    def __init__(self, source: StandingSource, inbox: Inbox) -> None:
        super().__init__(name=f"intake {source.kind}")
        self.failure: Exception | None = None
        self._source, self._inbox = source, inbox

    def run(self) -> None:
        try:
            self._source.deliver(self._inbox)
        except Exception as failure:
            # Whatever stopped the delivery is raised again in the thread that waits for it.
            self.failure = failure
        finally:
            self._source.stop.set()


def _take_in_what_settled(
    home: Home, inbox: Inbox, rules: IntakeRules, quiet_seconds: float, on_report: Callable[[IntakeReport], None]
) -> None:
    inbox.settle_quiet(quiet_seconds)
    with ObjectIndex(home) as index:
        if not index.pending(rules.collection):
            return
    try:
        on_report(take_in_settled(home, rules))
    except MedSiloError as busy:
        # A cohort is being built, or somebody must make room; the studies are still pending at the next look.
        if busy.code not in ("state-locked", "disk-full"):
            raise
