"""Bearer tokens: a prefix scanners can match, 256 random bits, and a checksum that finds a typing error early.

A token is shown once. The hub keeps its BLAKE3 hash: the token is long and random, so a slow password hash would
add nothing but load.
"""

import secrets
import zlib
from typing import Literal

from blake3 import blake3

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY = 43
_CHECK = 6
Prefix = Literal["mss_", "msp_"]


def new_token(prefix: Prefix) -> str:
    """Return a fresh token: ``mss_`` for a silo, ``msp_`` for a person."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_BODY))
    return prefix + body + _checksum(body)


def well_formed(token: str) -> bool:
    """Tell whether a token has a known prefix and its checksum is right, before any database is asked."""
    prefix, body, check = token[:4], token[4 : 4 + _BODY], token[4 + _BODY :]
    if not token.isascii():
        return False
    return prefix in ("mss_", "msp_") and len(body) == _BODY and secrets.compare_digest(_checksum(body), check)


def token_hash(token: str) -> str:
    """Return what the hub keeps of a token."""
    return blake3(token.encode()).hexdigest()


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECK):
        value, index = divmod(value, len(_ALPHABET))
        digits.append(_ALPHABET[index])
    return "".join(reversed(digits))
