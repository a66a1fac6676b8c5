"""The loop: what it runs, what it refuses, and how it outlives a hub, a kill and a second self."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psutil
import pytest

from silo_node.agent.loop import Agent
from silo_node.agent.node import Interrupted, Node, pauses, persist
from silo_node.agent.tasks import TaskBook, TaskRecord
from silo_node.config import PollSettings
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.outbox.egress_log import EgressLog
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.cohorts import AssociationDecision
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import Envelope, new_key, open_envelope, public_key_text, seal
from silo_node.wire.errors import HubUnavailable
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import StudyConsentRequest, StudyPlan
from tests.silo.peer import Answer, Peer, peer
from tests.silo.stand_in import DIGEST, SILO, StandIn, enrolled, evaluation, free_port, home_at, node_at


@contextmanager
def working(node: Node) -> Iterator[Agent]:
    """Run a node's loop inside the block."""
    agent = Agent(node)
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        agent.stop()
        thread.join(20)
        assert not thread.is_alive()


def wait_for(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def tasks_of(home: Home) -> list[TaskRecord]:
    journal = Journal(home)
    try:
        return TaskBook(journal).recent()
    finally:
        journal.close()


@pytest.fixture
def hub() -> StandIn:
    return StandIn()


@pytest.fixture
def home(tmp_path: Path, hub: StandIn) -> Home:
    found = home_at(tmp_path)
    enrolled(found, hub)
    return found


@pytest.fixture
def server(hub: StandIn) -> Iterator[Peer]:
    with peer(hub) as running:
        yield running


def test_a_task_the_pinned_hub_did_not_sign_is_not_run(hub: StandIn, home: Home, server: Peer) -> None:
    """Whoever sits on the line can offer what they like."""
    hub.offer(evaluation(), key=new_key())
    with working(node_at(home, server.url)):
        wait_for(lambda: hub.heard("/decline"))
    assert hub.heard("/decline") == [{"code": "task-not-signed", "retry": False}]
    assert tasks_of(home) == []


def test_a_task_signed_for_another_silo_is_not_run(hub: StandIn, home: Home, server: Peer) -> None:
    """Nor one that was changed after it was signed."""
    hub.offer(evaluation(silo_id="silo-87654321"))
    signed, other = seal(evaluation(), hub.key), evaluation(task_id="task-87654321")
    hub.tasks.append(
        Envelope(payloadType=signed.payloadType, payload=seal(other, hub.key).payload, signatures=signed.signatures)
    )
    with working(node_at(home, server.url)):
        wait_for(lambda: len(hub.heard("/decline")) == 2)
    assert {str(said["code"]) for said in hub.heard("/decline")} == {"task-not-signed"}
    assert tasks_of(home) == []


def test_what_the_policy_does_not_allow_is_declined_with_its_code(hub: StandIn, home: Home, server: Peer) -> None:
    """And the answer is the same whether the site holds such a cohort or not."""
    hub.offer(evaluation())
    with working(node_at(home, server.url)):
        wait_for(lambda: hub.heard("/decline"))
    assert hub.heard("/decline") == [{"code": "policy-benchmark", "retry": False}]
    (task,) = tasks_of(home)
    assert (task.state, task.code) == ("closed", "policy-benchmark")


def test_a_policy_change_counts_from_the_next_task_on(hub: StandIn, home: Home, server: Peer) -> None:
    """The file is read at each decision; one that is not valid refuses everything."""
    with working(node_at(home, server.url)):
        for text, code in (
            ("[benchmarks]\nallow = ['chest_phantom']\n", "cohort-unknown"),
            ("[benchmarks]\nallw = ['chest_phantom']\n", "config-unknown-key"),
        ):
            home.policy_file.write_text(text)
            before = len(hub.heard("/decline"))
            hub.offer(evaluation(task_id=f"task-0000000{before}"))
            wait_for(lambda before=before: len(hub.heard("/decline")) > before)
            assert hub.heard("/decline")[-1]["code"] == code


def test_a_hub_with_another_key_gets_no_question(hub: StandIn, home: Home, server: Peer) -> None:
    """The key was pinned at enrolment; a changed one is a matter for the telephone."""
    hub.shown_key = public_key_text(new_key().public_key())
    hub.offer(evaluation())
    with working(node_at(home, server.url)):
        wait_for(lambda: any(one.path.endswith("/silo") for one in server.received))
        time.sleep(0.3)
    assert hub.heard("/tasks/claim") == []
    assert tasks_of(home) == []


def test_a_node_outlives_a_hub_that_is_gone(hub: StandIn, home: Home) -> None:
    """It goes on asking, and goes on working when the hub is back."""
    port = free_port()
    with working(node_at(home, f"http://127.0.0.1:{port}", poll=PollSettings(backoff_seconds=0.3))):
        time.sleep(0.7)
        with peer(hub, port):
            assert hub.asked.wait(10)
        hub.asked.clear()
        time.sleep(0.3)
        hub.offer(evaluation())
        with peer(hub, port):
            wait_for(lambda: hub.heard("/decline"))


def test_an_answer_that_makes_no_sense_does_not_end_the_node(hub: StandIn, home: Home) -> None:
    """A proxy's page, a wrong type, a refusal: it asks again."""
    port = free_port()
    nonsense: list[Answer] = [
        lambda exchange: exchange.say(b"<html>", kind="text/html"),
        lambda exchange: exchange.say(b'{"task": 7}'),
        lambda exchange: exchange.refuse("internal-error"),
        lambda exchange: exchange.hang_up(),
    ]
    with working(node_at(home, f"http://127.0.0.1:{port}", poll=PollSettings(backoff_seconds=0.2))):
        for answer in nonsense:
            with peer(answer, port) as server:
                wait_for(lambda server=server: server.received)
        with peer(hub, port):
            assert hub.asked.wait(10)


def test_every_body_that_arrived_is_in_the_egress_log(hub: StandIn, home: Home, server: Peer) -> None:
    """Byte for byte, and the chain holds."""
    hub.offer(evaluation())
    with working(node_at(home, server.url)):
        wait_for(lambda: hub.heard("/decline"))
    logged = {entry.departure.digest for entry in EgressLog(home.egress_log).entries()}
    arrived = {digest_bytes(one.body) for one in server.received if one.body}
    assert arrived <= logged
    EgressLog(home.egress_log).verify()


@pytest.mark.parametrize(("code", "state"), [("lease-lost", "lease-lost"), (None, "policy-benchmark")])
def test_a_task_under_way_when_the_node_ended_is_taken_up_again(
    hub: StandIn, home: Home, server: Peer, code: str | None, state: str
) -> None:
    """If its lease still holds; else it is left to whoever has it now."""
    journal = Journal(home)
    TaskBook(journal).claim("task-12345678", "evaluation", seal(evaluation(), hub.key))
    journal.close()
    hub.lease_code = code
    with working(node_at(home, server.url)):
        wait_for(lambda: tasks_of(home)[0].state == "closed")
    assert tasks_of(home)[0].code == state
    assert len(hub.heard("/decline")) == (0 if code else 1)


def consent(hub: StandIn, key: str | None = None) -> StudyConsentRequest:
    """Return a study that asks for consent."""
    plan = StudyPlan(
        name="lungs",
        title="Lungs",
        benchmark=BenchmarkReference(name="chest_phantom", version=1, digest=DIGEST),
        model=ModelReference(digest=DIGEST, size=10),
        silos=(SILO,),
        rounds=1,
        quorum=1,
        deadline_seconds=60,
    )
    return StudyConsentRequest(
        association_id="assoc-12345678",
        study_id="study-12345678",
        requested_by="Somebody",
        organisation="Somewhere",
        plan=plan,
        hub_public_key=key or hub.public_key,
    )


def test_a_study_on_a_benchmark_that_is_not_joined_is_declined_once(hub: StandIn, home: Home, server: Peer) -> None:
    """However often the hub repeats the question; the no is signed and coded."""
    hub.consents = (consent(hub),)
    node = node_at(home, server.url)
    with working(node):
        wait_for(lambda: hub.heard("/decision"))
        time.sleep(0.3)
    (said,) = hub.heard("/decision")
    envelope = Envelope.model_validate_json(json.dumps(said))
    decision = open_envelope(envelope, AssociationDecision, node.identity.enrolment.public_key)
    assert (decision.approve, decision.reason) == (False, "policy-benchmark")


def test_a_question_that_names_another_hub_gets_no_answer(hub: StandIn, home: Home, server: Peer) -> None:
    """A consent is to one hub's study."""
    hub.consents = (consent(hub, public_key_text(new_key().public_key())),)
    with working(node_at(home, server.url)):
        wait_for(lambda: len(hub.heard("/tasks/claim")) >= 1)
        time.sleep(0.2)
    assert hub.heard("/decision") == []
    journal = Journal(home)
    assert Outbox(journal).items() == []
    journal.close()


def start(home: Home, url: str, ready: Path) -> subprocess.Popen[bytes]:
    """Start ``silo-node start`` as its own process."""
    home.config_file.write_text(f'hub_url = "{url}"\n')
    called = [sys.executable, "-m", "silo_node.cli", "--home", str(home.path), "start", "--ready-file", str(ready)]
    return subprocess.Popen(called, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_the_command_runs_one_node_small_and_ends_it_when_told(
    hub: StandIn, home: Home, server: Peer, tmp_path: Path
) -> None:
    """A second one on the same folder is refused; SIGTERM ends it well; torch and numpy are never loaded."""
    ready = tmp_path / "ready.json"
    with start(home, server.url, ready) as process:
        try:
            wait_for(ready.exists, 30)
            assert json.loads(ready.read_text()) == {"pid": process.pid, "silo_id": SILO}
            assert hub.asked.wait(10)
            loaded = {Path(region.path).name for region in psutil.Process(process.pid).memory_maps()}
            assert not any("torch" in name or "numpy" in name for name in loaded)
            with start(home, server.url, tmp_path / "second.json") as second:
                _, complaint = second.communicate(timeout=30)
            assert second.returncode == 1
            assert b"state-locked" in complaint
        finally:
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines[0]["event"] == "started"
    assert not (home.path / "agent.lock").stat().st_size
    assert os.path.exists(home.journal)


def test_pauses_double_to_their_limit_and_are_shortened_at_random() -> None:
    """So that a hub that comes back is not asked by everybody at once."""
    found = [pause for pause, _ in zip(pauses(8.0, Random(1)), range(8), strict=False)]
    bounds = [0.5, 1, 2, 4, 8, 8, 8, 8]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(found, bounds, strict=True))
    assert found != [pause for pause, _ in zip(pauses(8.0, Random(2)), range(8), strict=False)]


def test_persisting_ends_with_an_answer_or_when_nobody_wants_it_any_more() -> None:
    """Only an unavailable hub is asked again."""
    answers = iter([HubUnavailable("hub-unreachable"), HubUnavailable("unavailable"), "there"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, HubUnavailable):
            raise answer
        return answer

    assert persist(call, lambda: False, 0.05) == "there"

    def gone() -> str:
        raise HubUnavailable("hub-unreachable")

    with pytest.raises(Interrupted):
        persist(gone, lambda: True, 5.0)


def test_the_claims_of_a_node_hold_nothing_but_kinds(hub: StandIn, home: Home, server: Peer) -> None:
    """The question for work tells nothing about the site."""
    with working(node_at(home, server.url)):
        wait_for(lambda: hub.heard("/tasks/claim"))
    assert hub.heard("/tasks/claim")[0] == {"kinds": ["evaluation", "round", "statistics"]}
    assert server.received[-1].body == canonical_bytes({"kinds": ["evaluation", "round", "statistics"]})
