"""A claim: one task under lease, what it has done so far, and whether anyone still wants it.

One thread keeps all leases alive, so that neither a long evaluation nor a study's round can let one run out.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from silo_node.hub import Hub
from silo_node.identity import Dial
from silo_node.wire.errors import HubUnavailable, MedSiloError
from silo_node.wire.tasks import Heartbeat, Task

LONGEST_BEAT_SECONDS = 5.0
STEPS = 20
"""How finely the hub is told how far the work has come: the counts are the jail's, and could be made to say more."""

_LOG = logging.getLogger("silo_node.agent")


@dataclass
class Claim:
    """A task under lease. Written by the thread that works on it and by the one that keeps the lease."""

    task: Task
    lease_seconds: float
    stop: Callable[[], bool] = lambda: False
    """Whether the node is going down."""

    state: Literal["running", "held"] = "running"
    done: int = 0
    total: int = 0
    unwanted: threading.Event = field(default_factory=threading.Event)
    next_beat: float = 0.0

    def __post_init__(self) -> None:
        self.plan_beat(self.lease_seconds)

    def progress(self, done: int, total: int) -> None:
        """Note how far the work has come."""
        self.done, self.total = done, total

    def cancelled(self) -> bool:
        """Return whether to stop working: the hub cancelled the task or lost the lease, or the node goes down."""
        return self.unwanted.is_set() or self.stop()

    def plan_beat(self, lease_seconds: float) -> None:
        """Plan the next heartbeat well within a lease."""
        self.lease_seconds = lease_seconds
        self.next_beat = time.monotonic() + min(lease_seconds / 3, LONGEST_BEAT_SECONDS)


def coarse(done: int, total: int) -> tuple[int, int]:
    """Return progress in twentieths; nothing of the counts themselves goes on."""
    return (min(STEPS * done // total, STEPS), STEPS) if total > 0 else (0, 0)


class LeaseKeeper:
    """Sends the heartbeats of all claims from one thread, over one connection of its own."""

    def __init__(self, dial: Dial, beaten: Callable[[Claim], None], cancelled: Callable[[Claim], None]) -> None:
        """``beaten`` is called after each heartbeat; ``cancelled`` where the hub says the task is not wanted."""
        self._dial = dial
        self._beaten = beaten
        self._cancelled = cancelled
        self._claims: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; leases run out by themselves."""
        self._ending.set()
        self._changed.set()
        self._thread.join(timeout=5)

    def keep(self, claim: Claim) -> None:
        """Begin to keep a claim's lease."""
        with self._lock:
            self._claims[claim.task.task_id] = claim
        self._changed.set()

    def drop(self, task_id: str) -> None:
        """Stop keeping a claim's lease."""
        with self._lock:
            self._claims.pop(task_id, None)

    @contextmanager
    def keeping(self, claim: Claim) -> Iterator[None]:
        """Keep a claim's lease inside the block."""
        self.keep(claim)
        try:
            yield
        finally:
            self.drop(claim.task.task_id)

    def kept(self) -> list[Claim]:
        """Return the claims whose leases are being kept."""
        with self._lock:
            return list(self._claims.values())

    def _run(self) -> None:
        hub = self._dial()
        while not self._ending.is_set():
            due = min((claim.next_beat for claim in self.kept()), default=time.monotonic() + 60)
            self._changed.wait(max(0.0, due - time.monotonic()))
            self._changed.clear()
            for claim in self.kept():
                if claim.next_beat <= time.monotonic() and not self._ending.is_set():
                    self._beat(claim, hub)
        hub.close()

    def _beat(self, claim: Claim, hub: Hub) -> None:
        done, total = coarse(claim.done, claim.total)
        beat = Heartbeat(state=claim.state, done=done, total=total)
        try:
            answer = hub.heartbeat(claim.task.task_id, beat)
        except HubUnavailable as error:
            claim.plan_beat(claim.lease_seconds)
            claim.next_beat = max(claim.next_beat, time.monotonic() + error.retry_after)
        except MedSiloError as error:
            _LOG.warning("lease lost", extra={"task": claim.task.task_id, "code": error.code})
            self._lose(claim)
        except Exception:
            _LOG.exception("heartbeat failed")
            claim.plan_beat(claim.lease_seconds)
        else:
            claim.plan_beat(answer.lease_seconds)
            self._beaten(claim)
            if answer.cancelled:
                self._lose(claim)
                self._cancelled(claim)

    def _lose(self, claim: Claim) -> None:
        claim.unwanted.set()
        self.drop(claim.task.task_id)
