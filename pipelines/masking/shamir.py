"""Shamir's t-of-n sharing of 32 bytes (Shamir 1979), over the integers modulo the least prime above ``2**256``."""

import secrets
from collections.abc import Callable, Mapping

from pipelines.errors import PipelineError

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33


def split(
    secret: bytes, threshold: int, places: int, below: Callable[[int], int] = secrets.randbelow
) -> tuple[bytes, ...]:
    """Return the shares of places ``1 ... places``: any ``threshold`` of them give the secret, fewer tell nothing."""
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= places:
        raise ValueError("a secret has 32 bytes, and the threshold is at most the number of places")
    coefficients = [int.from_bytes(secret, "big"), *(below(PRIME) for _ in range(threshold - 1))]
    return tuple(_value(coefficients, place).to_bytes(SHARE_BYTES, "big") for place in range(1, places + 1))


def join(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret of which these are shares, by place; the caller knows that they are enough.

    Raises ``masking-share`` where they are not shares of one 32-byte secret.
    """
    if any(len(share) != SHARE_BYTES or int.from_bytes(share, "big") >= PRIME for share in shares.values()):
        raise PipelineError("masking-share", "a share is not an element of the field")
    total = 0
    for place, share in shares.items():
        weight = 1
        for other in shares:
            if other != place:
                weight = weight * other * pow(other - place, -1, PRIME) % PRIME
        total = (total + int.from_bytes(share, "big") * weight) % PRIME
    if total >= 2 ** (8 * SECRET_BYTES):
        raise PipelineError("masking-share", "the shares do not belong together")
    return total.to_bytes(SECRET_BYTES, "big")


def _value(coefficients: list[int], place: int) -> int:
    total = 0
    for coefficient in reversed(coefficients):
        total = (total * place + coefficient) % PRIME
    return total
