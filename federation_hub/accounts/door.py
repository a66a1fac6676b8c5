"""How many wrong guesses one may make at the door: per address, per name, and per name from one address.

Only failures count, so that nobody is kept waiting for signing in often. A stranger who guesses at one name from one
address is stopped after five; one with many addresses after fifty, which also is when the owner has to wait.
"""

from math import ceil

from flask import current_app, g, request
from flask.blueprints import BlueprintSetupState

from federation_hub.accounts.tokens import token_hash
from federation_hub.limits import Buckets, Rate
from silo_node.wire.errors import MedSiloError

EXTENSION = "medsilo.door"


class Door:
    """The buckets of one hub's door, in memory."""

    def __init__(self) -> None:
        self._pairs = Buckets(Rate(per_minute=1, burst=5))
        self._addresses = Buckets(Rate(per_minute=5, burst=20))
        self._names = Buckets(Rate(per_minute=10, burst=50))

    def wait(self, address: str, name: str) -> float:
        """Return how many seconds have to pass before anybody may try again from there under that name; 0 for none."""
        levels = (bucket.level(key) for bucket, key in self._keys(address, name))
        return max(levels)

    def failed(self, address: str, name: str) -> None:
        """Note a wrong guess."""
        for bucket, key in self._keys(address, name):
            bucket.take(key)

    def _keys(self, address: str, name: str) -> tuple[tuple[Buckets, str], ...]:
        # A name may be long, and is nobody's business in memory.
        hashed = token_hash(name.casefold())
        return (self._pairs, f"{address} {hashed}"), (self._addresses, address), (self._names, hashed)


def set_up(setup: BlueprintSetupState) -> None:
    """Give an application its door."""
    setup.app.extensions[EXTENSION] = Door()


def require_patience(name: str) -> None:
    """Raise ``sign-in-paused`` where too many guesses were wrong; the answer says how long to wait."""
    wait = _door().wait(request.remote_addr or "", name)
    if wait > 0:
        g.retry_after = ceil(wait)
        raise MedSiloError("sign-in-paused")


def guessed_wrong(name: str) -> None:
    """Note a wrong guess of this request."""
    _door().failed(request.remote_addr or "", name)


def _door() -> Door:
    found: Door = current_app.extensions[EXTENSION]
    return found
