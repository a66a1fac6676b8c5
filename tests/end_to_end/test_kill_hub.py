"""A study survives ``kill -9`` of the hub in every phase of a round, and ends with the very same model.

A real hub process, and sites with the node's real transfer code. Every run starts from a copy of one prepared home, so
all runs have the same silos; the undisturbed run is what the others are compared with, bit for bit.
"""

import shutil
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from silo_node.wire.studies import RoundTask
from tests.conftest import HubProcess, start_hub, stop_hub
from tests.sites import TOY, Arrays, Person, Site, Trainer, toy_plan, write_bundle

pytestmark = pytest.mark.slow

SITES = 3
ROUNDS = 2
VALUES = 4_000_000
"""Large enough that folding three updates takes a few polls of the test."""


@dataclass(frozen=True)
class Prepared:
    """A hub's home with a study ready to start, and its sites."""

    home: Path
    sites: list[Site]
    researcher: str
    study_id: str


@dataclass(frozen=True)
class Outcome:
    """What a run left in the hub's database."""

    model: str
    updates: Counter[str]
    rounds: list[tuple[int, int, str]]
    folds: Counter[str]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    hub = start_hub(folder / "hub")
    try:
        admin = Person(hub.url, hub.admin_token)
        admin.do("POST", "/benchmarks", TOY.model_dump_json())
        token = hub.command("person", "add", "Ada", "--role", "researcher", "--organisation", "University")
        researcher = Person(hub.url, token.strip())
        start = {"weight": np.linspace(-1, 1, VALUES, dtype=np.float32), "bias": np.ones(3, np.float32)}
        model = researcher.submit(write_bundle(folder, start, channels=(2048, 2048)))
        sites = [Site.join(folder / f"site{n}", hub.url, admin, f"Site {n}", 7 * (n + 1)) for n in range(SITES)]
        plan = toy_plan(model, sites, rounds=ROUNDS, deadline_seconds=600)
        study_id = str(researcher.do("POST", "/studies", plan.model_dump_json())["study_id"])
        for site in sites:
            door = site.dial()
            assert site.consent(door) == [study_id]
            door.close()
    finally:
        stop_hub(hub)
    return Prepared(folder / "hub", sites, token.strip(), study_id)


@pytest.fixture(scope="module")
def undisturbed(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    with run_of(prepared, tmp_path_factory.mktemp("undisturbed")) as run:
        run.finish()
        return run.outcome()


@dataclass
class Run:
    """One study on a copy of the prepared home, on a port that stays the same over restarts."""

    prepared: Prepared
    home: Path
    port: int
    hub: HubProcess

    @property
    def person(self) -> Person:
        return Person(self.hub.url, self.prepared.researcher)

    def kill(self) -> None:
        """End the hub as a power cut would, and start it again."""
        self.hub.process.kill()
        self.hub.process.wait()
        self.hub = start_hub(self.home, "--port", str(self.port))

    def kill_when(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not reached():
            assert time.monotonic() < end, "the phase was never seen"
            time.sleep(0.001)
        self.kill()

    def finish(self) -> None:
        view = self.person.wait_for(self.prepared.study_id, "completed", "failed", "stopped", seconds=120)
        assert view["state"] == "completed", view["code"]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(f"file:{self.home / 'hub.sqlite'}?mode=ro", uri=True)) as database:
            return list(database.execute(query))

    def round_state(self, number: int) -> str | None:
        found = self.rows(f"select state from study_round where number = {number} order by attempt desc limit 1")
        return str(found[0][0]) if found else None

    def outcome(self) -> Outcome:
        folds = self.rows("select subject from audit_entry where action = 'update.fold'")
        return Outcome(
            model=str(self.rows("select final_model_digest from study")[0][0]),
            updates=Counter(str(row[0]) for row in self.rows("select state from study_update")),
            rounds=[tuple(row) for row in self.rows("select number, attempt, state from study_round order by 1, 2")],
            folds=Counter(str(row[0]) for row in folds),
        )


def copied(prepared: Prepared, folder: Path) -> Run:
    """Start a hub on a copy of the prepared home, on a port that it keeps when it is started again."""
    home = folder / "hub"
    shutil.copytree(prepared.home, home)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    return Run(prepared, home, port, start_hub(home, "--port", str(port)))


@contextmanager
def run_of(prepared: Prepared, folder: Path) -> Iterator[Run]:
    """Start the study on a copy of the prepared home, with its sites at work."""
    run = copied(prepared, folder)
    stopping = Event()
    faults: list[BaseException] = []

    def work(site: Site, place: int) -> None:
        try:
            site.run(run.hub.url, trainer(place), stopping.is_set)
        except BaseException as fault:
            faults.append(fault)
            raise

    workers = [Thread(target=work, args=(site, place)) for place, site in enumerate(prepared.sites)]
    try:
        run.person.do("POST", f"/studies/{prepared.study_id}/start")
        for worker in workers:
            worker.start()
        yield run
    finally:
        stopping.set()
        for worker in workers:
            worker.join(30)
        stop_hub(run.hub)
    assert not faults


def trainer(place: int) -> Trainer:
    noise = np.random.default_rng(place).standard_normal(VALUES, dtype=np.float32)

    def train(weights: Arrays, number: int) -> Arrays:
        return {"weight": noise * np.float32(number), "bias": np.full(3, place, np.float32)}

    return train


def some_verified(run: Run) -> bool:
    return bool(run.rows("select 1 from study_update where state = 'verified'"))


def writing_the_model(run: Run) -> bool:
    partial = list((run.home / "blobs" / "scratch").glob(f"{run.prepared.study_id}.1.1.partial"))
    return bool(partial) and partial[0].stat().st_size > 0


PHASES: dict[str, Callable[[Run], bool]] = {
    "offered": lambda run: run.round_state(1) == "open",
    "collecting": lambda run: run.round_state(1) == "collecting" and some_verified(run),
    "folding": writing_the_model,
    "committed": lambda run: run.round_state(1) == "committed",
    "validating": lambda run: run.round_state(ROUNDS + 1) is not None,
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_in_any_phase_changes_nothing(
    prepared: Prepared, undisturbed: Outcome, tmp_path: Path, phase: str
) -> None:
    """Every site's update of every round is folded once, in the first attempt, and the model has the same digest."""
    with run_of(prepared, tmp_path) as run:
        run.kill_when(lambda: PHASES[phase](run))
        run.finish()
        outcome = run.outcome()
    assert outcome == undisturbed
    assert outcome.updates == {"folded": SITES * ROUNDS, "verified": SITES}
    assert len(outcome.folds) == SITES * ROUNDS
    assert set(outcome.folds.values()) == {1}


def test_kills_again_and_again_change_nothing(prepared: Prepared, undisturbed: Outcome, tmp_path: Path) -> None:
    """Six kills at moments nobody chose."""
    moments = np.random.default_rng(6).uniform(0.1, 1.5, 6)
    with run_of(prepared, tmp_path) as run:
        for seconds in moments:
            time.sleep(seconds)
            run.kill()
        run.finish()
        assert run.outcome() == undisturbed


def test_kills_around_a_veto_roll_the_study_back_once(prepared: Prepared, tmp_path: Path) -> None:
    """Killed between two vetoes, and again the moment the round is given up: one roll-back, to the model before."""
    run = copied(prepared, tmp_path)
    try:
        researcher = run.person
        model = researcher.submit(write_bundle(tmp_path, {"fc.weight": np.full((2, 64), 9, np.float32)}), "Small")
        plan = toy_plan(model, prepared.sites, name="gated", deadline_seconds=600, gate={"vetoes": 2})
        study_id = str(researcher.do("POST", "/studies", plan.model_dump_json())["study_id"])
        run.prepared = replace(prepared, study_id=study_id)
        for site in prepared.sites:
            agree(site, run, study_id)
        researcher.do("POST", f"/studies/{study_id}/start")
        for place in range(SITES):
            answer(place, run)
        answer(0, run, verdict="vetoed")
        run.kill_when(lambda: run.rows("select 1 from study_update where number = 2 and state = 'verified'") != [])
        for place in (1, 2):
            answer(place, run, verdict="vetoed" if place == 1 else "accepted")
        run.kill_when(lambda: run.round_state(2) != "collecting")
        for place in (*range(SITES), *range(SITES)):
            answer(place, run)
        run.finish()
        rounds = run.rows(
            "select number, attempt, state, code, base_digest, weights_digest from study_round order by 1, 2"
        )
        assert [row[:4] for row in rounds] == [
            (1, 1, "revoked", "model-vetoed"),
            (2, 1, "abandoned", "model-vetoed"),
            (2, 2, "committed", None),
            (3, 1, "committed", None),
        ]
        assert rounds[1][4] == rounds[0][5], "the vetoed round began from the model that was vetoed"
        assert rounds[2][4] == rounds[0][4], "and the next one from the model before"
        changes = Counter(row for row in run.rows("select action, after from audit_entry where action like 'round.%'"))
        assert changes["round.revoke", "revoked"] == 1
        assert changes["round.abandon", "abandoned"] == 1
    finally:
        stop_hub(run.hub)


def agree(site: Site, run: Run, study_id: str) -> None:
    door = site.dial(run.hub.url)
    assert site.consent(door) == [study_id]
    door.close()


def answer(place: int, run: Run, verdict: str = "accepted") -> None:
    """Let a site answer its next task, with a difference of its own and what it makes of the model."""
    site = run.prepared.sites[place]
    door = site.dial(run.hub.url)
    task = site.claim(door)
    assert isinstance(task.body, RoundTask)
    if task.body.validate_only:
        site.report(door, task, None, verdict=verdict)
    else:
        site.send(door, task, {"fc.weight": np.full((2, 64), place + 1, np.float32)}, verdict=verdict)
    door.close()
