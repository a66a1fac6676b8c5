"""Bringing a database to this release's schema, and refusing to run on a newer one.

Alembic takes as long to load as the rest of the hub, so it is loaded only where there is something to migrate.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from federation_hub.db import Database
from federation_hub.migrations import HEAD
from silo_node.wire.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config

_FOLDER = Path(__file__).parent


def migrate(database: Database) -> None:
    """Apply every migration that is missing, all or none; raises ``config-invalid`` on a newer schema."""
    with database.engine.begin() as connection:
        if not is_current(connection):
            _refuse_newer(connection)
            _upgrade(connection)


def is_current(connection: Connection) -> bool:
    """Tell whether the database has exactly this release's schema."""
    return present_revision(connection) == HEAD


def present_revision(connection: Connection) -> str | None:
    """Return the database's newest migration, or None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def is_known(revision: str) -> bool:
    """Tell whether this release has the migration, and so can read what was made with it."""
    return any(path.name.startswith(f"{revision}_") for path in (_FOLDER / "versions").glob("*_*.py"))


def new_revision(database: Database, message: str, revision_id: str) -> None:
    """Write a migration module from the difference between tables and a migrated database: for developers."""
    from alembic import command

    with database.engine.begin() as connection:
        command.revision(alembic_config(connection), message, autogenerate=True, rev_id=revision_id)


def _upgrade(connection: Connection) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection), HEAD)


def _refuse_newer(connection: Connection) -> None:
    present = present_revision(connection)
    if present is not None and not is_known(present):
        raise ConfigError("config-invalid", "the database was made by a newer release; upgrade the hub")


def alembic_config(connection: Connection) -> "Config":
    """Return how Alembic is to work on a connection, for what is not a plain upgrade."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    return config
