"""One byte sequence for one message: JSON canonicalised by RFC 8785 (JCS).

Digests and signatures are taken over these bytes, so two programs that agree on a message agree on its digest.

A leaderboard has half a million numbers, and an estimate block thousands, so what Python spells as JavaScript does is
written here, ten times as fast; rfc8785 writes the rest, and a property test holds both to the same bytes.
"""

import json
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

import rfc8785
from pydantic import BaseModel

from silo_node.wire.digests import digest_bytes

_LARGEST_INTEGER = 2**53 - 1
_SPELLED_ALIKE = (1e-4, 1e15)
"""Between these, Python and JavaScript write a number with the same digits, but for the ``.0`` of a whole one."""


def canonical_bytes(message: BaseModel | dict[str, Any]) -> bytes:
    """Return the RFC 8785 bytes of a message or of a plain JSON object.

    Raises ``ValueError`` for what JSON cannot carry: NaN, infinities, integers beyond 2**53.
    """
    value = message.model_dump(mode="json") if isinstance(message, BaseModel) else message
    parts: list[str] = []
    try:
        _write(value, parts.append)
        return "".join(parts).encode()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
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


def _write(value: Any, write: Callable[[str], None]) -> None:
    """Write a value. Only the very types of JSON are written here; a subclass may spell itself otherwise."""
    kind = type(value)
    if kind is str:
        write(encode_basestring(value))
    elif kind is float:
        write(_float(value))
    elif kind is dict:
        _write_object(value, write)
    elif kind is list or kind is tuple:
        _write_array(value, write)
    elif value is None:
        write("null")
    elif kind is int and -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER:
        write(int.__repr__(value))
    else:
        write(rfc8785.dumps(value).decode())


def _write_object(value: dict[str, Any], write: Callable[[str], None]) -> None:
    opening = "{"
    for key in _ordered(value):
        write(f"{opening}{encode_basestring(key)}:")
        _write(value[key], write)
        opening = ","
    write("}" if value else "{}")


def _write_array(value: list[Any] | tuple[Any, ...], write: Callable[[str], None]) -> None:
    kinds = set(map(type, value))
    if kinds == {int} and min(value) >= -_LARGEST_INTEGER and max(value) <= _LARGEST_INTEGER:
        write(repr(list(value)).replace(" ", ""))
    elif kinds == {float}:
        write(_floats(list(value)))
    elif value:
        opening = "["
        for element in value:
            write(opening)
            _write(element, write)
            opening = ","
        write("]")
    else:
        write("[]")


def _floats(values: list[float]) -> str:
    """Most lists hold scores, which Python writes as JavaScript does: no exponent, no infinity, no whole number."""
    text = repr(values).replace(" ", "")
    if "e" in text or "n" in text or ".0," in text or text.endswith(".0]"):
        return f"[{','.join(map(_float, values))}]"
    return text


def _ordered(value: dict[str, Any]) -> list[str]:
    """Keys are ordered by their UTF-16 code units, which only beyond ASCII is not the order of their letters."""
    try:
        return sorted(value) if "".join(value).isascii() else sorted(value, key=lambda key: key.encode("utf-16be"))
    except TypeError as error:
        raise rfc8785.CanonicalizationError("object keys must be strings") from error


def _float(value: float) -> str:
    low, high = _SPELLED_ALIKE
    if low <= value < high or -high < value <= -low or not value:
        return float.__repr__(value) if value % 1.0 else int.__repr__(int(value))
    return rfc8785.dumps(value).decode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("duplicate key in a JSON object")
    return dict(pairs)


def _no_constant(_: str) -> Any:
    raise ValueError("NaN and infinities are not JSON")
