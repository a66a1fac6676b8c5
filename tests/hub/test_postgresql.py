"""The hub on PostgreSQL: the same migrations, claims decided by row locks, and a study that outlives ``kill -9``."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import cast

import numpy as np
import pytest
from pydantic import JsonValue
from sqlalchemy import create_engine, make_url, select, text
from sqlalchemy.pool import NullPool

from federation_hub.accounts.service import ensure_admin
from federation_hub.app import build_services, create_app
from federation_hub.backup.manifest import DUMP
from federation_hub.config import HubConfig, load_config
from federation_hub.db import Database
from federation_hub.leaderboards.tables import BoardRevision
from federation_hub.migrations.runner import migrate
from federation_hub.sweeper import sweep
from silo_node.wire.errors import BadInput, IntegrityError
from silo_node.wire.tasks import ClaimRequest
from tests.conftest import start_hub, stop_hub
from tests.hub import showcase
from tests.hub.federation import Caller, Federation
from tests.hub.test_process import operator
from tests.postgresql import programs, running
from tests.sites import TOY, Arrays, Person, Site, toy_plan, write_bundle

pytestmark = pytest.mark.slow
SITES = 3
LISTS = {
    f"/{name}": name for name in ("models", "evaluations", "associations", "studies", "benchmarks", "tokens", "silos")
}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of a fresh database."""
    found = programs()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with running(found) as url:
        yield url


def test_a_study_runs_on_postgresql_and_outlives_a_kill(database: str, tmp_path: Path) -> None:
    """Tasks are claimed once though all ask at once; after a kill every update is folded once."""
    home = tmp_path / "hub"
    home.mkdir()
    (home / "hub.toml").write_text(f'database_url = "{database}"\nlease_seconds = 4\n')
    hub = start_hub(home)
    stopping = Event()
    workers: list[Thread] = []
    try:
        admin = Person(hub.url, hub.admin_token)
        admin.do("POST", "/benchmarks", TOY.model_dump_json())
        token = hub.command("person", "add", "Ada", "--role", "researcher", "--organisation", "University").strip()
        ada = Person(hub.url, token)
        model = ada.submit(write_bundle(tmp_path, {"weight": np.zeros(1000, np.float32)}))
        sites = [Site.join(tmp_path / f"site{n}", hub.url, admin, f"Site {n}") for n in range(SITES)]
        study_id = str(ada.do("POST", "/studies", toy_plan(model, sites).model_dump_json())["study_id"])
        for site in sites:
            door = site.dial()
            site.consent(door)
            door.close()
        ada.do("POST", f"/studies/{study_id}/start")
        wait_until(lambda: ada.study(study_id)["rounds"])
        assert Counter(claims_of(sites[0], 8)) == {None: 7, "round": 1}
        hub.process.kill()
        hub.process.wait()
        hub = start_hub(home)
        workers = [Thread(target=site.run, args=(hub.url, train, stopping.is_set)) for site in sites]
        for worker in workers:
            worker.start()
        study = Person(hub.url, token).wait_for(study_id, "completed", "failed")
        assert study["state"] == "completed", study["code"]
        for person in (Person(hub.url, hub.admin_token), Person(hub.url, token)):
            for path, key in LISTS.items():
                whole = person.do("GET", path)[key]
                assert list(pages_of(person, path, key)) == whole
                assert person.ask("GET", f"{path}?cursor=WyJhXHUwMDAwIl0").status_code == 422
    finally:
        stopping.set()
        for worker in workers:
            worker.join(30)
        stop_hub(hub)
    with create_engine(database, poolclass=NullPool).connect() as connection:
        folds = connection.execute(text("select subject from audit_entry where action = 'update.fold'")).scalars()
        assert Counter(Counter(folds).values()) == {1: 2 * SITES}


def test_boards_are_brought_up_to_date_on_postgresql(database: str, tmp_path: Path) -> None:
    """Changes that come at once are all counted; one process at a time computes a board, and lets go of it after."""
    with create_engine(database, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect() as connection:
        connection.execute(text("CREATE DATABASE boards"))
    config = HubConfig(home=tmp_path, database_url=make_url(database).set(database="boards").render_as_string())
    services = build_services(config)
    migrate(services.database)
    ensure_admin(config, services.database)
    app = create_app(config, services=services)
    federation = Federation(app, Caller(app.test_client(), config.admin_token_path.read_text().strip()))
    showcase.fill(federation, hospitals=3, study=False)
    before = federation.refresh()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: federation.refresh(), range(4))) == {before}
    sweep(services)
    with services.database.reading() as session:
        row = session.scalars(select(BoardRevision)).one()
        assert (row.changed, row.computed) == (8, 8)
    other = Database(config.database)
    with services.database.alone("a board", patience=0) as mine, other.alone("a board", patience=0) as also:
        assert (mine, also) == (True, False)
    with other.alone("a board", patience=0) as now_mine:
        assert now_mine
    other.close()
    services.database.close()


def test_a_hub_on_postgresql_is_backed_up_and_restored_into_another_database(database: str, tmp_path: Path) -> None:
    """By the server's own programs, all of it or nothing; a database that holds something is left alone."""
    with create_engine(database, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        for name in ("first", "second"):
            connection.execute(text(f"CREATE DATABASE {name}"))
    first, second = (str(database).replace("/postgres", f"/{name}") for name in ("first", "second"))
    home, copied = tmp_path / "hub", tmp_path / "copy"
    home.mkdir()
    (home / "hub.toml").write_text(f'database_url = "{first}"\n')
    operator(home, "person", "add", "Ada", "--role", "researcher")
    operator(home, "backup", str(copied))
    with pytest.raises(BadInput, match="give an empty database"):
        operator(tmp_path / "again", "restore", str(copied))
    assert not (tmp_path / "again").exists()
    operator(tmp_path / "again", "restore", str(copied), "--database-url", second)
    assert operator(tmp_path / "again", "person", "list") == operator(home, "person", "list")
    assert load_config(tmp_path / "again").database == second
    assert not (tmp_path / "again" / DUMP).exists()
    (copied / DUMP).unlink()
    with pytest.raises(IntegrityError, match="backup-invalid"):
        operator(tmp_path / "third", "restore", str(copied), "--database-url", second)


def pages_of(person: Person, path: str, key: str) -> Iterator[JsonValue]:
    """Yield what a list has, one row a page."""
    cursor = ""
    while True:
        answer = person.do("GET", f"{path}?limit=1{cursor}")
        yield from cast("list[JsonValue]", answer[key])
        if answer["next"] is None:
            return
        cursor = f"&cursor={answer['next']}"


def wait_until(reached: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.1)


def claims_of(site: Site, askers: int) -> list[str | None]:
    """Ask for work several times at once; return the kinds of the tasks that were handed out."""
    doors = [site.dial() for _ in range(askers)]
    with ThreadPoolExecutor(askers) as pool:
        answers = list(pool.map(lambda door: door.claim(ClaimRequest(kinds=("round",))).task, doors))
    for door in doors:
        door.close()
    return [None if envelope is None else "round" for envelope in answers]


def train(weights: Arrays, number: int) -> Arrays:
    return {name: np.full_like(values, number) for name, values in weights.items()}
