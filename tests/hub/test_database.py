"""The schema, and what a transaction promises."""

import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_mock_engine, select, text
from sqlalchemy.exc import IntegrityError

from federation_hub.accounts.tables import Organisation
from federation_hub.db import Database, new_id
from federation_hub.entries.tables import Entry
from federation_hub.migrations.runner import alembic_config, is_current, migrate
from federation_hub.silos.tables import Silo
from federation_hub.tables import METADATA
from silo_node.wire.errors import ConfigError

VERSIONS = Path(__file__).resolve().parents[2] / "federation_hub" / "migrations" / "versions"


@pytest.fixture
def database(migrated_home: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """A migrated database of its own."""
    made = Database(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    migrate(made)
    yield made
    made.close()


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    """A table that was changed without a migration is found here."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    """``up`` does it at every start."""
    migrate(database)
    with database.engine.connect() as connection:
        assert is_current(connection)


def test_a_database_of_a_newer_release_is_left_alone(database: Database) -> None:
    """An older hub would not understand what it reads."""
    with database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'ffff'"))
    with pytest.raises(ConfigError, match="newer release"):
        migrate(database)


def test_the_tables_can_be_made_on_postgresql() -> None:
    """Every column type has its like there."""
    statements: list[str] = []
    engine = create_mock_engine(
        "postgresql+psycopg://", lambda sql, *_, **__: statements.append(str(sql.compile(dialect=engine.dialect)))
    )
    METADATA.create_all(engine, checkfirst=False)
    assert sum("CREATE TABLE" in statement for statement in statements) == len(METADATA.tables)
    assert any("TIMESTAMP WITH TIME ZONE" in statement for statement in statements)


def test_a_moment_comes_back_aware_and_in_utc(database: Database) -> None:
    """Whatever zone it was given in; without a zone it is refused."""
    east = datetime(2026, 11, 21, 12, tzinfo=timezone(timedelta(hours=8)))
    with database.session() as session:
        session.add(Organisation(id="org-000001", name="East", created=east))
    with database.reading() as session:
        assert session.get_one(Organisation, "org-000001").created == datetime(2026, 11, 21, 4, tzinfo=UTC)
    with pytest.raises(Exception, match="offset from UTC"), database.session() as session:
        session.add(Organisation(name="Nowhere", created=east.replace(tzinfo=None)))


def test_a_row_that_refers_to_nothing_is_refused(database: Database) -> None:
    """Foreign keys hold on SQLite, too."""
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(Silo(name="Lost", organisation_id="org-none00", state="invited"))


def test_an_error_does_not_carry_the_values_into_the_log(database: Database) -> None:
    """They may be somebody's name."""
    with pytest.raises(IntegrityError) as caught, database.session() as session:
        session.add(Silo(name="DOE^JANE", organisation_id="org-none00", state="invited"))
    assert "DOE" not in str(caught.value)


def test_two_writers_take_turns(database: Database) -> None:
    """Each sees what the other wrote: nobody counts from a stale number, and nobody fails for a lock."""
    together = Barrier(4)

    def add_one(_: int) -> None:
        together.wait()
        for _ in range(5):
            with database.session() as session:
                names = session.scalars(select(Organisation.name)).all()
                session.add(Organisation(name=f"Number {len(names)}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one, range(4)))
    with database.reading() as session:
        assert set(session.scalars(select(Organisation.name))) == {f"Number {place}" for place in range(20)}


def test_reading_never_waits_for_a_writer(database: Database) -> None:
    """And sees nothing of what is not committed."""
    with database.session() as writer:
        writer.add(Organisation(name="Unfinished"))
        writer.flush()
        with database.reading() as reader:
            assert reader.scalars(select(Organisation)).all() == []


def test_a_committed_write_survives_a_kill(database: Database) -> None:
    """The journal is flushed at every commit: what a silo was told stays true."""
    with database.reading() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert session.execute(text("PRAGMA synchronous")).scalar() == 2
        assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1
    assert sqlite3.sqlite_version_info >= (3, 35)


def test_ids_differ_and_fit_the_wire() -> None:
    """Sixty random bits each."""
    ids = {new_id("silo") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(found) == 17 and found.startswith("silo-") for found in ids)


def test_models_that_were_submitted_before_have_public_entries_afterwards(tmp_path: Path) -> None:
    """Counted for each organisation in the order in which they came; what a study made was no attempt."""
    made = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    at = "2026-01-01 00:00:00"
    with made.engine.begin() as connection:
        command.upgrade(alembic_config(connection), _before("0009"))
        connection.execute(text(f"INSERT INTO organisation (id, name, created) VALUES ('org-1', 'University', '{at}')"))
        connection.execute(
            text(
                "INSERT INTO benchmark (id, name, version, digest, state, definition, owner_organisation_id, "
                "owner_person_id, created) "
                f"VALUES ('bench-1', 'one', 1, 'd', 'published', '{{}}', 'org-1', 'p', '{at}')"
            )
        )
        for number, lineage in enumerate(("NULL", "'null'", '\'{"study": "study-1"}\'')):
            connection.execute(
                text(
                    "INSERT INTO model (digest, size, state, card, lineage, owner_organisation_id, owner_person_id, "
                    f"created) VALUES ('model-{number}', 1, 'accepted', '{{}}', {lineage}, 'org-1', 'p', '{at}')"
                )
            )
            connection.execute(
                text(
                    "INSERT INTO association (id, kind, state, benchmark_id, model_digest, requested_side, "
                    f"requested_by, created) VALUES ('assoc-{number}', 'model-benchmark', 'approved', 'bench-1', "
                    f"'model-{number}', 'model', 'p', '{at}')"
                )
            )
    migrate(made)
    with made.reading() as session:
        rows = session.scalars(select(Entry).order_by(Entry.attempt))
        found = [(row.model_digest, row.attempt, row.visibility) for row in rows]
    assert found == [("model-0", 1, "public"), ("model-1", 2, "public")]
    made.close()


def _before(revision: str) -> str:
    (module,) = VERSIONS.glob(f"{revision}_*.py")
    found = re.search(r'^down_revision = "(\w+)"', module.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]
