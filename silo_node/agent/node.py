"""What every kind of task needs of the node: where things lie, who it is, how it jails, and how it talks."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from silo_node.config import NodeConfig
from silo_node.hub import Hub
from silo_node.identity import Identity
from silo_node.policy import load_policy
from silo_node.sandbox import Limits, Sandbox
from silo_node.sandbox.container import Container
from silo_node.sandbox.grant import granted
from silo_node.state import Home
from silo_node.wire.errors import HubUnavailable

T = TypeVar("T")
FIRST_PAUSE_SECONDS = 0.5
_LOG = logging.getLogger("silo_node.agent")


@dataclass(frozen=True)
class Node:
    """One running node."""

    home: Home
    config: NodeConfig
    identity: Identity
    sandbox: Sandbox
    containers: Container | None = None
    """What runs models with code (tier 3); None where the configuration names nothing."""

    def limits(self, minutes: float, *, training: bool = False) -> Limits:
        """Return the limits of a jail that may run this long."""
        return granted(self.config, minutes, load_policy(self.home).resources, training=training)


def pauses(longest: float, random: Random) -> Iterator[float]:
    """Yield the pauses between tries: doubling from half a second, each shortened by up to half at random.

    The jitter keeps the silos of a hub that comes back from all asking in the same moment.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield min(pause, longest) * (1 - random.random() / 2)
        pause = min(pause * 2, longest)


def pause_after(error: HubUnavailable, pause: float, random: Random) -> float:
    """Return how long to wait after an error: the planned pause, or as long as the hub asked for.

    That is never shortened, and lengthened by up to a quarter at random, so that those it sent away do not all come
    back in the same moment.
    """
    return max(pause, error.retry_after * (1 + random.random() / 4))


def persist(call: Callable[[], T], cancelled: Callable[[], bool], longest: float) -> T:
    """Call until the hub answers, however long it is gone; raises :class:`Interrupted` once nobody wants it."""
    random = Random()  # noqa: S311  # jitter needs no secret
    for planned in pauses(longest, random):
        try:
            return call()
        except HubUnavailable as error:
            pause = pause_after(error, planned, random)
            _LOG.warning("the hub is not there", extra={"code": error.code, "retry_seconds": round(pause, 1)})
        end = time.monotonic() + pause
        while time.monotonic() < end:
            if cancelled():
                raise Interrupted
            time.sleep(min(0.2, pause))
    raise AssertionError("pauses never end")


class Interrupted(Exception):
    """The work was stopped from outside: cancelled by the hub, or the node goes down."""


def connection(node: Node) -> Hub:
    """Return a new connection to the hub, for one thread."""
    from silo_node.identity import dial

    return dial(node.home, node.config, node.identity)
