"""Masked rounds over real HTTP: the hub opens exact sums and nothing else, whoever is killed at whatever point."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sqlalchemy import select

from federation_hub.aggregation.group_means import meaning_of
from federation_hub.config import HubConfig
from federation_hub.db import now
from federation_hub.masking.tables import MaskingGroup, MaskingSite
from federation_hub.studies.tables import Study, StudyRound
from pipelines.masking.sums import Masks, encoded, write_mean
from silo_node.identity import load_identity
from silo_node.wire.envelope import public_key_text
from silo_node.wire.errors import BadInput, MedSiloError
from silo_node.wire.masking import MaskingOpening, Member, SecureAggregation
from silo_node.wire.studies import StudyPlan
from silo_node.wire.tasks import Task
from tests.hub.masked import MaskedSite, masked_site, update_for
from tests.hub.running import START, Federation, running_hub
from tests.sites import Arrays, Site, toy_plan

SECONDS = 300


@pytest.fixture
def federation(hub_config: HubConfig, tmp_path: Path) -> Iterator[Federation]:
    with running_hub(hub_config) as hub:
        made = Federation(hub, tmp_path, sites=4)
        yield made
        made.close()


def members(sites: Sequence[Site]) -> tuple[Member, ...]:
    return tuple(
        Member(silo_id=site.silo_id, public_key=public_key_text(load_identity(site.home).key.public_key()))
        for site in sites
    )


class Round:
    """A running masked study, its sites in the order of their ids, and the round they are in."""

    def __init__(self, federation: Federation, rounds: int, **masking: object) -> None:
        self.federation = federation
        federation.sites.sort(key=lambda site: site.silo_id)
        asked = {"members": members(federation.sites), "step_seconds": 3600, **masking}
        changes = {"rounds": rounds, "quorum": 3, "deadline_seconds": 3600}
        secure = SecureAggregation.model_validate(asked)
        self.plan = toy_plan(federation.model, federation.sites, secure_aggregation=secure, **changes)
        self.sites: list[MaskedSite] = [masked_site(site) for site in federation.sites]
        self.study_id = federation.create(self.plan)
        for site in self.federation.sites:
            door = site.dial()
            site.consent(door)
            door.close()
        federation.start(self.study_id)
        self.number, self.tasks, self.base = 0, list[Task](), START

    def open(self, left_out: Sequence[int] = ()) -> None:
        """Claim the next round and hand updates in, except for these sites."""
        self.number += 1
        self.base = self.model()
        self.tasks = []
        for place, site in enumerate(self.sites):
            self.tasks.append(self.federation.sites[place].claim(site.hub))
            if place not in left_out:
                site.begin(self.tasks[-1], update_for(place, self.number, START))

    def take_turns(self, places: Sequence[int], until: str) -> None:
        """Let these sites take turns until the hub's group is in a stage."""
        end = time.monotonic() + SECONDS
        while self.stage() != until:
            assert time.monotonic() < end, f"{self.stage()}, not {until}"
            for place in places:
                self._answer(place, until)

    def _answer(self, place: int, until: str) -> None:
        """Let a site take a turn if its group waits for it: then nobody else's answer can end the stage meanwhile."""
        site, task = self.sites[place], self.tasks[place]
        view = site.hub.masking(task.task_id)
        if view.stage != until and not (
            site.session(task).state == "masked" if view.stage == "masking" else view.received
        ):
            site.turn()

    def stage(self) -> str:
        with self.federation.hub.services.database.reading() as session:
            rows = select(MaskingGroup.stage).where(MaskingGroup.study_id == self.study_id)
            return str(session.scalars(rows.where(MaskingGroup.number == self.number)).first())

    def time_is_up(self, stage: str) -> None:
        """Let the deadline of a stage pass, where the group is in it."""
        with self.federation.hub.services.database.session() as session:
            group = session.scalars(select(MaskingGroup).where(MaskingGroup.number == self.number)).one()
            found = session.scalars(select(StudyRound).where(StudyRound.number == self.number)).one()
            if group.stage == stage:
                group.deadline = now()
                found.deadline = now() if stage == "advertising" else found.deadline

    def everything_sent(self, places: Sequence[int], what: str) -> bool:
        """Return whether the hub has these sites' statements of a kind."""
        with self.federation.hub.services.database.reading() as session:
            ids = [self.federation.sites[place].silo_id for place in places]
            rows = select(MaskingSite).where(MaskingSite.number == self.number, MaskingSite.silo_id.in_(ids))
            return all(getattr(site, what) is not None for site in session.scalars(rows))

    def finish(self, places: Sequence[int]) -> None:
        """Let these sites take turns until the round is committed."""
        end = time.monotonic() + SECONDS
        while self.state() not in ("committed", "abandoned"):
            assert time.monotonic() < end, self.words()
            for place in places:
                self.sites[place].turn()
        assert self.state() == "committed"

    def words(self) -> str:
        """Return where everybody stands, for a failed test."""
        kept = [site.store.find(task.task_id) for site, task in zip(self.sites, self.tasks, strict=True)]
        sessions = [(one.state, one.code) if one else None for one in kept]
        items = [[(item.state, item.answer) for item in site.outbox.items()] for site in self.sites]
        return f"round {self.number}: {self.stage()}, {self.state()}, {sessions}, {items}"

    def state(self) -> str:
        with self.federation.hub.services.database.reading() as session:
            rows = select(StudyRound).where(StudyRound.study_id == self.study_id, StudyRound.number == self.number)
            return session.scalars(rows.order_by(StudyRound.attempt.desc())).first().state  # type: ignore[union-attr]

    def model(self) -> Arrays:
        with self.federation.hub.services.database.reading() as session:
            digest = session.get_one(Study, self.study_id).weights_digest
        return START if digest is None else load_file(self.federation.weights(digest))

    def expected(self, survivors: Sequence[int], roster: Sequence[int]) -> dict[str, bytes]:
        """Return the next model by the plain updates of these sites."""
        folder, sources = self.federation.folder, []
        weights = [self.sites[place].weight for place in survivors]
        meaning = meaning_of(self.plan, [self.sites[place].weight for place in roster], weights)
        for place in survivors:
            save_file(update_for(place, self.number, START), folder / f"plain{place}")
            sources.append(encoded(folder / f"plain{place}", meaning.encoding, self.sites[place].weight))
        write_mean(sources, Masks(), meaning, folder / f"plain{survivors[0]}", folder / "mean")
        mean = load_file(folder / "mean")
        return {
            name: (base + mean[name].astype(float)).astype(np.float32).tobytes() for name, base in self.base.items()
        }


def bytes_of(arrays: Arrays) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_site_may_vanish_at_any_of_five_points_and_the_sum_is_exact(federation: Federation) -> None:
    """Before its keys, its shares, its update, its confirmation, its opening: a round each, in one study of four."""
    study = Round(federation, rounds=5)
    everybody, others, victim = (0, 1, 2, 3), (0, 1, 3), 2
    points = ("advertising", "sharing", "masking", "confirming", "opening")
    for point in points:
        study.open(left_out=(victim,) if point == "advertising" else ())
        if point != "advertising":
            study.take_turns(everybody, until=point)
        after = points[points.index(point) + 1] if point != "opening" else "opened"
        while study.stage() == point:
            for place in others:
                study.sites[place].turn()
            if _others_are_done(study, others, point):
                study.time_is_up(point)
        assert study.stage() == after or points.index(point) >= 3
        study.finish(others)
        survivors = everybody if point in ("confirming", "opening") else others
        roster = others if point == "advertising" else everybody
        assert bytes_of(study.model()) == study.expected(survivors, roster), point
        study.sites[victim].turn()
        assert not study.sites[victim].desk.tasks()
    assert study.number == 5


def _others_are_done(study: Round, others: Sequence[int], point: str) -> bool:
    column = {"advertising": "keys", "sharing": "shares", "confirming": "confirmation", "opening": "opening"}
    if point in column:
        return study.everything_sent(others, column[point])
    return all(study.sites[place].session(study.tasks[place]).state == "masked" for place in others)


def test_nodes_that_begin_again_after_every_step_say_the_same_again(federation: Federation) -> None:
    """All of a session is on disk before it is sent: restarted between any two turns, the sum is exact all the same.

    With words of 16 bits, so that the files are half as long.
    """
    study = Round(federation, rounds=1, word_bits=16)
    study.open()
    openings = {}
    end = time.monotonic() + SECONDS
    while study.state() != "committed":
        assert time.monotonic() < end
        for place, site in enumerate(study.sites):
            site.restart()
            site.turn()
            said = site.session(study.tasks[place]).opening
            if said is not None:
                assert openings.setdefault(place, said) == said
    assert bytes_of(study.model()) == study.expected((0, 1, 2, 3), (0, 1, 2, 3))
    for said in openings.values():
        opening = MaskingOpening.model_validate_json(said.payload_bytes())
        assert not {one.of for one in opening.seeds} & {one.of for one in opening.roots}
    for site in study.sites:
        site.turn()
    kept = [site.session(task) for site, task in zip(study.sites, study.tasks, strict=True)]
    assert all((one.root, one.own_seed, one.channel_root, one.received) == ("", "", "", {}) for one in kept)
    assert not any(path.suffix == ".safetensors" for site in study.sites for path in site.home.masking.iterdir())


@pytest.mark.parametrize("last", ["seeded", "opened"])
def test_a_process_killed_right_after_a_state_is_on_disk_goes_on(federation: Federation, last: str) -> None:
    """``kill -9`` of a real process, before anything of that state was sent; a new one finishes the round."""
    study = Round(federation, rounds=1)
    study.open()
    victim = study.sites[1]
    victim.close()
    command = [sys.executable, "-m", "tests.hub.masked", str(victim.home.path), last]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as process:
        while process.poll() is None:
            for place in (0, 2, 3):
                study.sites[place].turn()
        assert process.returncode == -signal.SIGKILL
    victim.restart()
    assert victim.session(study.tasks[1]).state == last
    study.finish((0, 1, 2, 3))
    assert bytes_of(study.model()) == study.expected((0, 1, 2, 3), (0, 1, 2, 3))


def test_a_round_with_too_few_is_void_and_tells_nothing(federation: Federation) -> None:
    """Two of four vanish after sharing: nothing is opened, the round is abandoned, and nobody was asked to open."""
    study = Round(federation, rounds=1)
    study.open()
    study.take_turns((0, 1, 2, 3), until="masking")
    before = bytes_of(study.model())
    while any(study.sites[place].session(study.tasks[place]).state != "masked" for place in (0, 1)):
        for place in (0, 1):
            study.sites[place].turn()
    study.time_is_up("masking")
    wait_until(lambda: study.stage() == "void")
    study.sites[0].turn()
    ended = study.sites[0].session(study.tasks[0])
    assert (ended.state, ended.code, ended.opening) == ("closed", "masking-void", None)
    assert bytes_of(study.model()) == before


def test_the_hub_takes_no_second_statement_and_none_of_another(federation: Federation) -> None:
    study = Round(federation, rounds=1)
    study.open()
    first, second = study.sites[0], study.sites[1]
    first.turn()
    task = study.tasks[0].task_id
    other = second.session(study.tasks[1]).keys
    with pytest.raises(MedSiloError, match="masking-closed"):
        first.hub.state_masking(task, other)
    first.hub.state_masking(task, first.session(study.tasks[0]).keys)
    with pytest.raises(MedSiloError, match="not-found"):
        first.hub.state_masking(study.tasks[1].task_id, other)


def test_a_plan_must_name_the_keys_the_silos_sign_with(federation: Federation) -> None:
    named = members(federation.sites)
    swapped = tuple(Member(silo_id=one.silo_id, public_key=named[0].public_key) for one in named)
    plan: StudyPlan = toy_plan(
        federation.model, federation.sites, quorum=3, secure_aggregation=SecureAggregation(members=swapped)
    )
    answer = federation.researcher.ask("POST", "/studies", plan.model_dump_json())
    assert (answer.status_code, answer.json()["code"]) == (422, "plan-masked-members")
    assert issubclass(BadInput, MedSiloError)
