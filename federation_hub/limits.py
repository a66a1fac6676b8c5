"""How often one token or address may ask: a token bucket each, in memory, judged before anything is looked up.

A bucket holds as many requests as may come at once and fills at the allowed rate; an empty one answers ``rate-limited``
with the seconds until the next. It is the generic cell rate algorithm (ITU-T I.371): one number a caller, no timers.
Each process of a hub counts for itself, so many processes together allow as many times more.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from flask import Flask, Response, g, request

from federation_hub.accounts.tokens import token_hash, well_formed
from federation_hub.config import HubConfig
from silo_node.wire.errors import MedSiloError

_MOST_CALLERS = 100_000
_COUNTED = ("/api/",)


@dataclass(frozen=True)
class Rate:
    """So many requests a minute on average, and so many at once."""

    per_minute: float
    burst: int

    @property
    def interval(self) -> float:
        return 60.0 / self.per_minute


class Buckets:
    """The buckets of all callers under one rate. Usable from several threads."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[str, float] = {}
        """When each caller's bucket will be full again; one that is full now need not be remembered."""

    def take(self, caller: str) -> float:
        """Take one request out of a caller's bucket; return 0, or how many seconds to wait where it is empty."""
        with self._lock:
            return self._take(caller, 1)

    def level(self, caller: str) -> float:
        """Return how long a caller would have to wait, without taking anything."""
        with self._lock:
            return self._take(caller, 0)

    def _take(self, caller: str, count: int) -> float:
        now = self._clock()
        full_at = max(self._full_at.get(caller, now), now)
        wait = full_at + self._rate.interval - (now + self._rate.burst * self._rate.interval)
        if wait > 0:
            return wait
        if count:
            if len(self._full_at) >= _MOST_CALLERS:
                self._forget_full(now)
            self._full_at[caller] = full_at + self._rate.interval
        return 0.0

    def _forget_full(self, now: float) -> None:
        """Forget callers that have asked nothing for long; where all are busy, everybody begins anew."""
        self._full_at = {caller: at for caller, at in self._full_at.items() if at > now}
        if len(self._full_at) >= _MOST_CALLERS:
            self._full_at.clear()


class Limiter:
    """The rates of one hub: by token, by address where there is none, and by address for tokens that are refused."""

    def __init__(self, config: HubConfig, clock: Callable[[], float] = time.monotonic) -> None:
        by_token, by_address = config.requests_per_minute, config.anonymous_requests_per_minute
        self._tokens = Buckets(Rate(by_token, max(by_token // 10, 10)), clock)
        self._addresses = Buckets(Rate(by_address, max(by_address // 4, 10)), clock)
        self._failures = Buckets(Rate(30, 30), clock)
        self._accepted: set[str] = set()

    def judge(self, address: str, authorization: str | None) -> float:
        """Take a request into account and return 0, or how many seconds its caller has to wait."""
        token = (authorization or "").partition(" ")[2]
        if not well_formed(token):
            return self._addresses.take(address)
        known = token_hash(token)
        # Who tries tokens from an address must not shut out those behind it whose tokens are good.
        guessing = 0.0 if known in self._accepted else self._failures.level(address)
        return guessing or self._tokens.take(known)

    def answered(self, address: str, authorization: str, *, accepted: bool) -> None:
        """Note whether a token was accepted."""
        if not accepted:
            self._failures.take(address)
            return
        known = token_hash(authorization.partition(" ")[2])
        if known not in self._accepted:
            if len(self._accepted) >= _MOST_CALLERS:
                self._accepted.clear()
            self._accepted.add(known)


def limit(app: Flask, config: HubConfig) -> None:
    """Judge every request of the API before anything else; a refusal says when to come again."""
    limiter = Limiter(config)

    def admit() -> None:
        if not request.path.startswith(_COUNTED):
            return
        wait = limiter.judge(request.remote_addr or "", request.headers.get("Authorization"))
        if wait > 0:
            g.retry_after = ceil(wait)
            raise MedSiloError("rate-limited")

    def tell(response: Response) -> Response:
        if "retry_after" in g:
            response.headers["Retry-After"] = str(g.retry_after)
        authorization = request.headers.get("Authorization")
        if authorization and request.path.startswith(_COUNTED) and response.status_code != 429:
            accepted = response.status_code != 401
            limiter.answered(request.remote_addr or "", authorization, accepted=accepted)
        return response

    app.before_request(admit)
    app.after_request(tell)
