"""Local passwords: argon2id, no more than two at a time, and the same time for a name that nobody has."""

from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from silo_node.wire.errors import BadInput

SHORTEST = 12
LONGEST = 200
_DIFFERENT = 5
_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# Each takes 64 MiB and four lanes; a crowd at the door must not take the memory of the hub.
_at_once = BoundedSemaphore(2)


def judge_password(password: str, name: str) -> bool:
    """Tell whether a password is strong enough for a person: long, not of a few characters, without the name in it."""
    plain = password.casefold()
    named = any(part in plain for part in name.casefold().split() if len(part) >= 4)
    return SHORTEST <= len(password) <= LONGEST and len(set(plain)) >= _DIFFERENT and not named


def hash_password(password: str, name: str) -> str:
    """Return what the hub keeps of a password; raises ``password-weak``."""
    if not judge_password(password, name):
        raise BadInput("password-weak")
    with _at_once:
        return _hasher.hash(password)


def is_password(kept: str | None, password: str) -> bool:
    """Tell whether this is the password that was kept. None, for nobody, takes as long and is never right."""
    if len(password) > LONGEST:
        return False
    with _at_once:
        try:
            return _hasher.verify(kept or _nobodys(), password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody has this password")
