"""What the running node says about itself, for whoever looks from outside: a file, and systemd's watchdog.

The loop beats at every step of its waiting. A node whose loop hangs stops beating, so its file grows old and systemd
starts it again. Standard library only.
"""

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from silo_node import __version__
from silo_node.state import Home

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
NodeState = Literal[
    "starting", "waiting", "working", "hub-gone", "asked-to-wait", "refused", "closed", "stopping", "stopped"
]


@dataclass(frozen=True)
class Health:
    """The content of ``health.json``. ``code`` is why no task comes: the hub's code, or a fixed sentence."""

    state: NodeState
    beat: str
    hub_reached: str | None
    code: str | None
    tasks: tuple[str, ...]
    version: str
    pid: int

    def fresh(self, now: datetime) -> bool:
        """Tell whether the node's loop turned within the last minute."""
        return (now - datetime.fromisoformat(self.beat)).total_seconds() < STALE_SECONDS


def read_health(home: Home) -> Health | None:
    """Return what the node last said, or None where it never did."""
    try:
        values = json.loads(home.health_file.read_bytes())
        return Health(**{**values, "tasks": tuple(values["tasks"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


class Pulse:
    """Writes the health file and feeds the watchdog: at once on a change, else every ten seconds."""

    def __init__(
        self,
        home: Home,
        notify: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home = home
        self._notify = notify or notify_systemd
        self._clock = clock
        self._told: tuple[object, ...] = ()
        self._next = 0.0
        self._hub_reached: str | None = None
        self._code: str | None = None
        self._state: NodeState = "starting"

    def reached(self) -> None:
        """Note that the hub has just answered."""
        self._hub_reached, self._code, self._state = _now(), None, "waiting"

    def trouble(self, state: NodeState, code: str) -> None:
        """Note that the hub is not there or says no."""
        self._state, self._code = state, code

    def beat(self, tasks: tuple[str, ...]) -> None:
        """Say that the loop turns; ``tasks`` are those under way."""
        state: NodeState = "working" if tasks and self._state == "waiting" else self._state
        said = (state, self._code, tasks)
        if said == self._told and self._clock() < self._next:
            return
        self._told, self._next = said, self._clock() + BEAT_SECONDS
        self._write(state, tasks)
        self._notify(f"WATCHDOG=1\nSTATUS={state}")

    def started(self) -> None:
        """Tell systemd that the node is at work."""
        self._notify("READY=1")

    def end(self, state: Literal["stopping", "stopped"]) -> None:
        """Say that the node goes down, or is down."""
        self._state = state
        self._write(state, ())
        self._notify("STOPPING=1")

    def _write(self, state: NodeState, tasks: tuple[str, ...]) -> None:
        health = Health(state, _now(), self._hub_reached, self._code, tasks, __version__, os.getpid())
        # No fsync: it is written often, and worthless after a power cut.
        draft = self._home.health_file.with_name(f".health.{os.getpid()}.new")
        draft.write_text(json.dumps(asdict(health)))
        draft.chmod(0o600)
        os.replace(draft, self._home.health_file)


def notify_systemd(text: str) -> None:
    """Send one message to systemd, where it started this process (sd_notify(3)); nobody else listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(text.encode())
        except OSError:
            return


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
