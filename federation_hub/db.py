"""The database: one declarative base, typed columns that mean the same everywhere, and short transactions.

SQLite is the default (WAL, one writer at a time taken with ``BEGIN IMMEDIATE``, so that a claim is decided by one
request and no transaction fails half-way for a lock); every column type is portable to PostgreSQL by changing the URL.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from threading import Lock, RLock, local
from typing import Any

from blake3 import blake3
from sqlalchemy import JSON, DateTime, Dialect, Engine, MetaData, create_engine, event, func, select
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_BUSY_SECONDS = 10
_READING: Mapping[str, dict[str, str]] = {
    "sqlite": {"medsilo_begin": "BEGIN"},
    # By default each statement would see what was committed up to then, not one moment for the whole session.
    "postgresql": {"isolation_level": "REPEATABLE READ"},
}


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """Return a fresh random identifier such as ``silo-3k9f0q2m1x7c``: 60 bits, no letters easily misread."""
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(12))


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, stored in UTC; SQLite forgets the zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a stored time must carry its offset from UTC")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The base of every table of every domain. JSON columns hold plain dictionaries and lists, replaced as a whole."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[Any]: JSON,
    }


class Database:
    """One database, reached by URL. ``session()`` writes, ``reading()`` looks."""

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self.engine = _engine(self.url)
        self._writers = sessionmaker(self.engine, expire_on_commit=False)
        readers = self.engine.execution_options(**_READING.get(self.url.get_backend_name(), {}))
        self._readers = sessionmaker(readers, expire_on_commit=False)
        self._turn = _Turn() if self.url.get_backend_name() == "sqlite" else nullcontext()
        self._at: dict[str, Lock] = {}

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a writing session: committed at the end of the block, rolled back when it raises."""
        with self._turn, self._writers() as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session over one consistent snapshot that takes no write lock and is never committed."""
        with self._readers() as session:
            yield session

    @contextmanager
    def alone(self, what: str, *, patience: float) -> Iterator[bool]:
        """Yield whether the caller alone is at something now; who else is of this process is waited for, in seconds.

        On PostgreSQL alone among all processes, and one that is killed lets go; SQLite serves one process.
        """
        lock = self._at.setdefault(what, Lock())
        if not lock.acquire(timeout=patience):
            yield False
            return
        try:
            with self._alone_among_processes(what) as mine:
                yield mine
        finally:
            lock.release()

    @contextmanager
    def _alone_among_processes(self, what: str) -> Iterator[bool]:
        if self.url.get_backend_name() == "sqlite":
            yield True
            return
        key = int.from_bytes(blake3(what.encode()).digest(8), "big", signed=True)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            mine = bool(connection.scalar(select(func.pg_try_advisory_lock(key))))
            try:
                yield mine
            finally:
                if mine:
                    connection.execute(select(func.pg_advisory_unlock(key)))

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


class _Turn:
    """One thread of this process writes at a time, the others wait for it here.

    SQLite has one writer, and whoever finds it taken tries again after a while, at last after a tenth of a second and
    without a queue: under load some never got their turn in the ten seconds they try. Other processes still meet at
    SQLite's own lock, and so does whoever waited here as long.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._taken = local()

    def __enter__(self) -> None:
        self._taken.stack = [*getattr(self._taken, "stack", []), self._lock.acquire(timeout=_BUSY_SECONDS)]

    def __exit__(self, *_: object) -> None:
        *self._taken.stack, taken = self._taken.stack
        if taken:
            self._lock.release()


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    # Parameters may hold what somebody sent; an error must not carry them into the log.
    arguments = {"timeout": _BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, hide_parameters=True)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver's own BEGIN comes too late (at the first write), so transactions are opened by _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_SECONDS * 1000}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("medsilo_begin", "BEGIN IMMEDIATE"))
