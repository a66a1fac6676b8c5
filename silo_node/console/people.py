"""Who may sign in: people with a password, and one-time links that last a quarter of an hour.

Both lie in the state folder, readable by its owner alone, and neither holds a secret in the clear: a password is kept
as its scrypt hash, a link as the BLAKE3 hash of its key. Whoever can write to the state folder can make a link, and
could change anything here anyway.
"""

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from silo_node.outbox.person import current_person
from silo_node.state import Home, write_private
from silo_node.wire.digests import digest_bytes, hex_part
from silo_node.wire.errors import BadInput

LINK_SECONDS = 900.0
SHORTEST_PASSWORD = 12
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,39}")
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
_COST = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024}
"""OWASP's parameters for scrypt in 32 MB: https://cheatsheetseries.owasp.org (Password Storage)."""


@dataclass(frozen=True)
class People:
    """The people of one site's console."""

    home: Home
    now: Callable[[], float] = time.time

    def names(self) -> list[str]:
        """Return who has a password."""
        return sorted(self._passwords())

    def set_password(self, name: str, password: str) -> None:
        """Let a person sign in with a password; raises :class:`BadInput` ``console-password-weak``."""
        if len(password) < SHORTEST_PASSWORD or password.lower().startswith(name.lower()):
            raise BadInput("console-password-weak", f"at least {SHORTEST_PASSWORD} characters, and not the name")
        salt = secrets.token_bytes(16)
        self._write({**self._passwords(), checked_name(name): f"{_text(salt)}.{_text(_scrypt(password, salt))}"})

    def drop(self, name: str) -> None:
        """Take a person's password away; raises :class:`BadInput` ``not-found``."""
        kept = self._passwords()
        if kept.pop(name, None) is None:
            raise BadInput("not-found", f"nobody called {name} has a password")
        self._write(kept)

    def knows(self, name: str, password: str) -> bool:
        """Tell whether this is a person's password. An unknown name takes as long as a known one."""
        found = self._passwords().get(name)
        salt, _, wanted = (found or f"{_text(bytes(16))}.{_text(bytes(32))}").partition(".")
        right = secrets.compare_digest(_text(_scrypt(password, base64.b64decode(salt))), wanted)
        return right and found is not None

    def new_link(self, name: str) -> str:
        """Return the key of a link that lets a person in once, within a quarter of an hour."""
        self.home.console.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.home.console.glob("link-*"):
            if self._expired(path.name):
                path.unlink(missing_ok=True)
        key = secrets.token_urlsafe(32)
        write_private(self.home.console / self._link_name(key), checked_name(name).encode())
        return key

    def owner(self, key: str) -> str | None:
        """Return whom a link would let in, without using it; None where it is spent, old or none of ours."""
        path = self.home.console / self._link_name(key) if _KEY.fullmatch(key) else None
        if path is None or not path.exists() or self._expired(path.name, path.stat().st_mtime):
            return None
        return path.read_text("utf-8")

    def use_link(self, key: str) -> str | None:
        """Spend a link and return whom it lets in. Of two who try at once, one succeeds."""
        name = self.owner(key)
        if name is None:
            return None
        try:
            (self.home.console / self._link_name(key)).unlink()
        except FileNotFoundError:
            return None
        return name

    def _link_name(self, key: str) -> str:
        return f"link-{hex_part(digest_bytes(key.encode()))}"

    def _expired(self, name: str, made: float | None = None) -> bool:
        made = (self.home.console / name).stat().st_mtime if made is None else made
        return self.now() - made > LINK_SECONDS

    def _passwords(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self.home.console_people.read_bytes())
        except FileNotFoundError:
            return {}
        return found

    def _write(self, passwords: dict[str, str]) -> None:
        self.home.console.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.home.console_people, json.dumps(passwords, indent=2, sort_keys=True).encode() + b"\n")


def checked_name(name: str) -> str:
    """Return a person's name as it will stand beside what they release; raises :class:`BadInput`."""
    if not _NAME.fullmatch(name):
        raise BadInput("console-name-invalid", "letters, digits, dot, hyphen; at most 40; a letter first")
    return name


def own_name() -> str:
    """Return whose name a link or password is for: the account of whoever runs the command, and nobody else's.

    Else one person could make a second one to release with.
    """
    return re.sub(r"[^A-Za-z0-9._-]", "-", current_person())


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, dklen=32, **_COST)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
