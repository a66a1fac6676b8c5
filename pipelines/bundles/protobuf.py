"""Reading protocol buffers field by field, with limits and without generated code.

Only what an ONNX file's judgement needs: a message is a run of (field number, value); a value is a number or a view of
bytes, never a copy. A library that builds the whole message first has done all the work an attacker asked for.
Source: https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator

from pipelines.errors import PipelineError

MAX_FIELDS = 5_000_000
Value = int | memoryview


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield each field's number with its value; raises ``bundle-invalid`` for what is no message."""
    position, count = 0, 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        count += 1
        if number == 0 or count > MAX_FIELDS:
            raise malformed("a field has no number, or there are too many")
        if kind == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        length, position = _length(data, position, kind)
        if position + length > len(data):
            raise malformed("a field ends after its message")
        yield number, data[position : position + length]
        position += length


def only(data: memoryview, known: frozenset[int]) -> Iterator[tuple[int, Value]]:
    """Yield the fields of a message that may have these and no other."""
    for number, value in fields(data):
        if number not in known:
            raise malformed(f"field {number} is not one of those a model needs")
        yield number, value


def numbers(value: Value) -> list[int]:
    """Return a repeated integer field, packed or one of its entries."""
    if isinstance(value, int):
        return [value]
    found, position = [], 0
    while position < len(value):
        entry, position = _varint(value, position)
        found.append(entry)
        if len(found) > 4096:
            raise malformed("a list of numbers is too long")
    return found


def view(value: Value) -> memoryview:
    """Return a field's bytes; raises ``bundle-invalid`` for a number."""
    if isinstance(value, int):
        raise malformed("a number where bytes belong")
    return value


def number(value: Value) -> int:
    """Return a field's number; raises ``bundle-invalid`` for bytes."""
    if not isinstance(value, int):
        raise malformed("bytes where a number belongs")
    return value


def text(value: Value) -> str:
    """Return a short field as text; raises ``bundle-invalid``."""
    data = view(value)
    if len(data) > 4096:
        raise malformed("a name is too long")
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        raise malformed("a name is not UTF-8") from None


def malformed(detail: str) -> PipelineError:
    """Return the refusal of a file that is not a sound model."""
    return PipelineError("bundle-invalid", f"models/model.onnx: {detail}")


def _length(data: memoryview, position: int, kind: int) -> tuple[int, int]:
    if kind == 2:
        return _varint(data, position)
    if kind in (1, 5):
        return (8 if kind == 1 else 4), position
    raise malformed("a field of an unknown kind")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise malformed("a number has no end")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
