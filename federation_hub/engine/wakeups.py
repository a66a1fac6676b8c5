"""Telling a waiting study within this process that the database has changed.

The database is the only truth: a wake-up carries nothing and may be lost, for whoever waits looks again after a short
while. So a change made by another process is seen too, only a little later.
"""

from collections import Counter
from threading import Condition


class EngineStopped(BaseException):
    """The engine of this process is shutting down; a waiting step ends unfinished, as if it had been killed.

    Not an ``Exception``: no step may record it as its outcome, so that the study goes on after the next launch.
    """


class Wakeups:
    """A counter of changes a topic, and a way to wait for the next one."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._counts: Counter[str] = Counter()
        self._stopped = False

    def count(self, topic: str) -> int:
        """Return the present count: read it, then look at the database, then wait for the count to move on."""
        with self._changed:
            return self._counts[topic]

    def notify(self, topic: str) -> None:
        """Wake whoever waits for this topic."""
        with self._changed:
            self._counts[topic] += 1
            self._changed.notify_all()

    def wait(self, topic: str, seen: int, seconds: float) -> None:
        """Return when the topic's count is no longer ``seen``, or after some seconds; raises EngineStopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._counts[topic] != seen, max(0.0, seconds))
            if self._stopped:
                raise EngineStopped

    @property
    def stopped(self) -> bool:
        """Whether the engine of this process is shutting down."""
        return self._stopped

    def stop(self) -> None:
        """End every wait, present and future."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
