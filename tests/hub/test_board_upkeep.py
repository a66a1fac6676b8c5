"""A board is computed beside the database's writers, never in their way; what is newer stays; nothing is forgotten."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import event, select

from federation_hub.benchmarks.service import find
from federation_hub.leaderboards.reading import read_board
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.tables import BoardRevision
from federation_hub.leaderboards.upkeep import changing_boards, compute, install
from federation_hub.silos.tables import Silo
from federation_hub.sweeper import Sweeper, sweep
from tests.hub.federation import Caller, Federation, hub_at
from tests.hub.test_leaderboard_service import standing

KILLED_BEFORE_COMPUTING = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from tests.hub.federation import hub_at

for federation in hub_at(Path(sys.argv[1])):
    def killed(*arguments):
        if "CAST(estimate_block.block" in arguments[2]:
            os.kill(os.getpid(), signal.SIGKILL)
    event.listen(federation.services.database.engine, "before_cursor_execute", killed)
    federation.refresh()
"""


GATHERING = "CAST(estimate_block.block"
"""What only the query for a board's inputs says."""

FILLED = 5
"""So many changes the prepared board has seen: four results and a study."""


@pytest.fixture
def steward(filled: Federation) -> Caller:
    """Whoever says how Harbour is shown: a wish that changes the board."""
    return filled.person("Sam", "data-steward", organisation="Harbour Hospital")


def wish(federation: Federation, steward: Caller, publication: str) -> None:
    """Let Harbour wish through the API."""
    answer = steward.post(f"/silos/{harbour(federation)}/publication", {"publication": publication})
    assert answer.status_code == 200, answer.text


def harbour(federation: Federation) -> str:
    """Return the id of the hospital called Harbour."""
    with federation.services.database.reading() as session:
        return session.scalars(select(Silo.id).where(Silo.name == "Harbour")).one()


def sites(federation: Federation) -> tuple[str, ...]:
    """Return how the standing board names its hospitals."""
    return read_board(standing(federation).body).sites


def change_unseen(federation: Federation, publication: str) -> None:
    """Let Harbour wish, and go no further: what a process leaves that is killed after its commit."""
    silo_id = harbour(federation)
    with federation.services.database.session() as session:
        session.get_one(Silo, silo_id).publication = publication
        outdate(session, [find(session, "chest_phantom")])


@contextmanager
def whenever(federation: Federation, moment: str, words: str, act: Callable[[], None]) -> Iterator[None]:
    """Act at a moment of the database's engine that concerns these words."""

    def heard(*arguments: object) -> None:
        if moment != "before_cursor_execute" or words in str(arguments[2]):
            act()

    engine = federation.services.database.engine
    event.listen(engine, moment, heard)
    try:
        yield
    finally:
        event.remove(engine, moment, heard)


def test_another_writer_gets_through_while_a_board_is_computed(filled: Federation, steward: Caller) -> None:
    """From the first read for it until it is to be installed, nobody holds the lock: another connection never waits."""
    other = sqlite3.connect(filled.services.config.database.removeprefix("sqlite:///"), timeout=0)
    written: list[str] = []

    def write() -> None:
        with other:
            other.execute("UPDATE organisation SET name = name")
        written.append("unhindered")

    def write_before_installing() -> None:
        if len(written) == 1:
            write()

    with (
        whenever(filled, "before_cursor_execute", GATHERING, write),
        whenever(filled, "checkout", "", write_before_installing),
    ):
        wish(filled, steward, "named")
    other.close()
    assert len(written) == 2
    assert "Harbour" in sites(filled)


def test_who_finds_a_board_being_computed_leaves_it_to_him(filled: Federation, steward: Caller) -> None:
    """Two changes meanwhile are answered without computing; one more computation takes both in."""
    meanwhile, before = ["withheld", "pseudonym"], sites(filled)
    computed: list[int] = []

    def more() -> None:
        computed.append(len(meanwhile))
        while meanwhile:
            other = Thread(target=wish, args=(filled, steward, meanwhile.pop(0)))
            other.start()
            other.join()

    with whenever(filled, "before_cursor_execute", GATHERING, more):
        wish(filled, steward, "named")
    assert computed == [2, 0]
    assert sites(filled) == before
    assert revisions(filled) == (3, 3)


def test_what_is_older_never_takes_the_place_of_what_is_newer(filled: Federation) -> None:
    """Whoever was slow finds that somebody was faster; what was computed from the latest change stays."""
    change_unseen(filled, "named")
    with filled.services.database.reading() as session:
        benchmark_id = find(session, "chest_phantom").id
    slow = compute(filled.services, benchmark_id)
    assert slow is not None
    change_unseen(filled, "withheld")
    sweep(filled.services)
    newest = standing(filled).digest
    with filled.services.database.session() as session:
        assert not install(session, slow)
    assert standing(filled).digest == newest
    assert "Harbour" not in sites(filled)
    assert compute(filled.services, benchmark_id) is None


def test_a_board_whose_process_was_killed_before_it_computed_is_made_good(showcase_home: Path, tmp_path: Path) -> None:
    """The change is committed and counted; the page says that more is coming until a hub has started anew."""
    home = tmp_path / "killed"
    shutil.copytree(showcase_home, home)
    for federation in hub_at(home):
        with federation.services.database.session() as session:
            session.scalars(select(Silo).where(Silo.name == "Harbour")).one().publication = "named"
    ended = subprocess.run([sys.executable, "-c", KILLED_BEFORE_COMPUTING, home], check=False)
    assert ended.returncode == -signal.SIGKILL
    for federation in hub_at(home):
        behind = federation.app.test_client().get("/benchmarks/chest_phantom").text
        assert "New results are in." in behind
        assert "Harbour" not in sites(federation)
        caught_up = Event()
        with whenever(federation, "commit", "", caught_up.set):
            sweeper = Sweeper(federation.services)
            sweeper.start()
            assert caught_up.wait(30)
            sweeper.stop()
        assert "Harbour" in sites(federation)
        assert "New results are in." not in federation.app.test_client().get("/benchmarks/chest_phantom").text


def test_a_change_that_is_taken_back_outdates_nothing(filled: Federation) -> None:
    """It is counted in the transaction that makes it."""

    def change_and_fail() -> None:
        with changing_boards(filled.services) as session:
            outdate(session, [find(session, "chest_phantom")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert revisions(filled) == (0, 0)


def revisions(federation: Federation) -> tuple[int, int]:
    """Return how often the board changed since its first result, and up to which change it was computed."""
    with federation.services.database.reading() as session:
        row = session.scalars(select(BoardRevision)).one()
    return row.changed - FILLED, row.computed - FILLED
