"""Who is signed in: sessions in memory, so that ending the console signs everybody out."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

IDLE_SECONDS = 1800.0
LONGEST_SECONDS = 12 * 3600.0
FAILURES = 5
FAILURE_SECONDS = 300.0


@dataclass
class Session:
    """One signed-in browser. ``form_token`` must come back with every form."""

    person: str
    started: float
    seen: float
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    notice: str = ""
    """What the next page says about what was just done."""

    def take_notice(self) -> str:
        """Return the notice; it is shown once."""
        notice, self.notice = self.notice, ""
        return notice


class Sessions:
    """All sessions of one console. Usable from several threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._failures: list[float] = []

    def begin(self, person: str) -> str:
        """Sign a person in and return the cookie's value."""
        key, now = secrets.token_urlsafe(32), self._now()
        with self._lock:
            self._sessions = {name: found for name, found in self._sessions.items() if not self._over(found)}
            self._sessions[key] = Session(person, now, now)
        return key

    def find(self, key: str | None, *, by_itself: bool = False) -> Session | None:
        """Return the session of a cookie, or None where there is none or it is over.

        A request that the page makes ``by_itself`` does not show that anybody is still there.
        """
        with self._lock:
            found = self._sessions.get(key or "")
            if found is None or self._over(found):
                return None
            if not by_itself:
                found.seen = self._now()
            return found

    def end(self, key: str | None) -> None:
        """Sign out."""
        with self._lock:
            self._sessions.pop(key or "", None)

    def may_try(self) -> bool:
        """Tell whether a password may be tried now: five wrong ones make everybody wait for some minutes."""
        with self._lock:
            self._failures = [at for at in self._failures if self._now() - at < FAILURE_SECONDS]
            return len(self._failures) < FAILURES

    def failed(self) -> None:
        """Note a wrong password."""
        with self._lock:
            self._failures.append(self._now())

    def _over(self, session: Session) -> bool:
        now = self._now()
        return now - session.seen > IDLE_SECONDS or now - session.started > LONGEST_SECONDS
