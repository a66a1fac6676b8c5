"""One moment of a PostgreSQL database, copied by the server's own programs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from federation_hub.backup.files import open_private
from silo_node.wire.errors import BadInput, MedSiloError

_ATTEMPTS = 50
_SAID = 300


class FrozenServer:
    """The database as it was at one moment, kept by a transaction that exported what it sees."""

    def __init__(self, url: URL, snapshot: str) -> None:
        self._url = url
        self._snapshot = snapshot

    def copy_to(self, path: Path) -> None:
        """Write the database into one file; raises ``backup-tool-missing`` or ``backup-failed``."""
        with open_private(path) as file:
            options = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={self._snapshot}"]
            _run("pg_dump", options, self._url, output=file)


@contextmanager
def frozen(url: URL) -> Iterator[tuple[FrozenServer, ExitStack]]:
    """Keep whoever could make a blob superfluous waiting, and give the database as it is now.

    Closing the second value lets them go on.
    """
    program("pg_dump")
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    with ExitStack() as reader, ExitStack() as writer:
        _lock(writer.enter_context(engine.connect()))
        looking = reader.enter_context(engine.connect().execution_options(isolation_level="REPEATABLE READ"))
        snapshot = str(looking.scalar(text("SELECT pg_export_snapshot()")))
        yield FrozenServer(url, snapshot), writer


def refuse_filled(url: URL) -> None:
    """Raise ``already-exists`` where a database holds any table, ``backup-failed`` where it cannot be reached."""
    tables = text(
        "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    )
    try:
        with create_engine(url, poolclass=NullPool).connect() as connection:
            count = connection.scalar(tables)
    except SQLAlchemyError as error:
        raise MedSiloError("backup-failed", f"{url.render_as_string()} cannot be reached") from error
    if count:
        raise BadInput("already-exists", f"{url.render_as_string()} holds {count} tables; give an empty database")


def fill(url: URL, path: Path) -> None:
    """Read a file of :class:`FrozenServer` into an empty database, all of it or nothing."""
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run("pg_restore", [*options, str(path)], url)


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs; raises ``backup-tool-missing``."""
    found = shutil.which(name)
    if found is None:
        raise MedSiloError("backup-tool-missing", name)
    return found


def _lock(connection: Connection) -> None:
    """Wait for the tables whose rows say that a blob is still needed.

    In short attempts: a writer that waits for these locks in another order is not to be ended by the server for it.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            connection.execute(text("SET LOCAL lock_timeout = '500ms'"))
            connection.execute(text("LOCK TABLE study_round, model IN SHARE MODE"))
            return
        except OperationalError as error:
            connection.rollback()
            if attempt == _ATTEMPTS:
                raise MedSiloError("backup-failed", "the database is locked by something else") from error


def _run(name: str, options: list[str], url: URL, *, output: int | None = None) -> None:
    # A password on the command line would be in the list of processes.
    plain = url.set(drivername="postgresql", password=None)
    secret = {"PGPASSWORD": str(url.password)} if url.password is not None else {}
    command = [program(name), *options, f"--dbname={plain.render_as_string(hide_password=False)}"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if output is None else output,
        stderr=subprocess.PIPE,
        env={**os.environ, **secret, "LC_ALL": "C"},
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        code = "disk-full" if "No space left" in said else "backup-failed"
        raise MedSiloError(code, f"{name}: {said[:_SAID]}")
