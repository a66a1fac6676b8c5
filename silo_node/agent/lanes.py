"""Lanes: threads that work, one claim at a time each, so that a long evaluation does not make a study wait.

A lane's thread lives as long as the node. That matters: the kernel ends a jail when the thread that started it ends.
"""

import logging
import queue
import threading
from collections.abc import Callable

from silo_node.agent.claims import Claim

IDLE_SECONDS = 10.0
_LOG = logging.getLogger("silo_node.agent")


class Lane:
    """One thread and the claim it works on."""

    def __init__(
        self, kind: str, work: Callable[[Claim], None], finished: Callable[[], None], idle: Callable[[], None]
    ) -> None:
        self.kind = kind
        self._work = work
        self._finished = finished
        self._idle = idle
        self._claims: queue.SimpleQueue[Claim | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"lane-{kind}", daemon=True)

    @property
    def free(self) -> bool:
        """Whether the lane has nothing to do."""
        with self._lock:
            return self._pending == 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, claim: Claim) -> None:
        """Hand over a claim."""
        with self._lock:
            self._pending += 1
        self._claims.put(claim)

    def close(self, timeout: float) -> None:
        """Let the lane end once its present claim has."""
        self._claims.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            try:
                claim = self._claims.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._idle()
                continue
            if claim is None:
                return
            try:
                self._work(claim)
            except Exception:
                # A node never dies of a bad task.
                _LOG.exception("a task failed in an unforeseen way")
            finally:
                with self._lock:
                    self._pending -= 1
                self._finished()
