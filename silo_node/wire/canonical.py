"""One byte sequence for one message: JSON canonicalised by RFC 8785 (JCS).

Digests and signatures are taken over these bytes, so two programs that agree on a message agree on its digest.
"""

import json
from typing import Any

import rfc8785
from pydantic import BaseModel

from silo_node.wire.digests import digest_bytes


def canonical_bytes(message: BaseModel | dict[str, Any]) -> bytes:
    """Return the RFC 8785 bytes of a message or of a plain JSON object.

    Raises ``ValueError`` for what JSON cannot carry: NaN, infinities, integers beyond 2**53.
    """
    value = message.model_dump(mode="json") if isinstance(message, BaseModel) else message
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError("not representable as canonical JSON") from error


def message_digest(message: BaseModel | dict[str, Any]) -> str:
    """Return the BLAKE3 digest of the canonical bytes."""
    return digest_bytes(canonical_bytes(message))


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse JSON bytes to an object, refusing duplicate keys and non-finite numbers with ``ValueError``."""
    value = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("duplicate key in a JSON object")
    return dict(pairs)


def _no_constant(_: str) -> Any:
    raise ValueError("NaN and infinities are not JSON")
