"""Alembic's entry point: it runs migrations on the connection the runner gives it."""

from typing import Any, Literal

from alembic import context

from federation_hub.db import UtcDateTime
from federation_hub.tables import METADATA


def _plain_type(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Write our moments as what they are in the database, so that a migration never depends on today's code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    render_item=_plain_type,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
