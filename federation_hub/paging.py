"""Lists in pages: a cursor that says after which row the next page begins, whatever was added meanwhile.

A cursor is opaque to clients; it holds the ordered key of the last row of a page. Numbered pages would show a row
twice, or not at all, when one before it comes or goes.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from federation_hub.errors import MalformedMessage

MOST = 500
T = TypeVar("T")


class PageQuery(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    limit: Annotated[int, Field(ge=1, le=MOST)] = MOST
    """How many rows at most."""

    cursor: Annotated[str, Field(max_length=400)] | None = None
    """``next`` of the page before."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows, and the cursor of the next page where there is one."""

    rows: Sequence[T]
    next: str | None


def page(
    session: Session,
    statement: Select[T],
    query: PageQuery,
    *keys: InstrumentedAttribute[Any],
    newest_first: bool = False,
) -> Page[T]:
    """Return the page of a query, ordered by ``keys``, which together must be unique; raises ``malformed-message``."""
    if query.cursor is not None:
        statement = statement.where(_after(keys, _read(query.cursor, keys), newest_first))
    ordered = statement.order_by(*(key.desc() if newest_first else key.asc() for key in keys))
    rows = session.scalars(ordered.limit(query.limit + 1)).all()
    kept = rows[: query.limit]
    more = len(rows) > query.limit
    return Page(kept, _write([getattr(kept[-1], key.key) for key in keys]) if more else None)


def _after(keys: Sequence[InstrumentedAttribute[Any]], values: list[Any], newest_first: bool) -> ColumnElement[bool]:
    row = tuple_(*keys)
    last = tuple_(*(literal(value, key.type) for key, value in zip(keys, values, strict=True)))
    return row < last if newest_first else row > last


def _write(values: list[Any]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def _read(cursor: str, keys: Sequence[InstrumentedAttribute[Any]]) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise MalformedMessage(fields=("cursor",)) from None
    if not isinstance(values, list) or len(values) != len(keys):
        raise MalformedMessage(fields=("cursor",))
    return [_key(value, key.type.python_type) for value, key in zip(values, keys, strict=True)]


def _key(value: Any, kind: type) -> Any:
    """Return a value of a cursor as its column holds it; raises ``malformed-message`` for what no column can hold."""
    try:
        if kind is int and type(value) is int and 0 <= value < 2**62:
            return value
        if kind is datetime:
            return datetime.fromisoformat(value).astimezone(UTC)
        if kind is str and "\x00" not in value and value.encode():
            return value
    except (TypeError, ValueError, OverflowError, AttributeError):
        pass
    raise MalformedMessage(fields=("cursor",))
