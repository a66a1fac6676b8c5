"""Masked rounds in the agent: an update goes to the desk and not into the outbox, also across a restart."""

from pathlib import Path

import pytest

from silo_node.agent.claims import Claim, LeaseKeeper
from silo_node.agent.masked import MaskedRounds
from silo_node.agent.tasks import TaskBook
from silo_node.cohorts.registry import prepare_registration
from silo_node.identity import Identity, load_identity
from silo_node.journal import Journal
from silo_node.masking import protocol
from silo_node.masking.store import MaskingStore
from silo_node.outbox.box import Outbox
from silo_node.state import Home
from silo_node.wire.envelope import public_key_text, seal
from silo_node.wire.errors import PolicyRefusal
from silo_node.wire.masking import MaskingKeys, Member, SecureAggregation
from silo_node.wire.studies import RoundTask
from silo_node.wire.tasks import Task
from silo_node.wire.transfers import BlobReference
from tests.silo.furnished import furnish, plan, round_report
from tests.silo.stand_in import StandIn, node_at


class Agent:
    """The parts of an agent that masked rounds touch, on a real home."""

    def __init__(self, home: Home) -> None:
        self.journal = Journal(home)
        self.book, self.outbox = TaskBook(self.journal), Outbox(self.journal)
        self.keeper = LeaseKeeper(lambda: pytest.fail("no heartbeat"), lambda claim: None, lambda claim: None)
        self.rounds = MaskedRounds(node_at(home, "http://127.0.0.1:9"), self.book, self.outbox, self.keeper)

    def close(self) -> None:
        self.rounds.close()
        self.journal.close()


def masked_task(home: Home, identity: Identity) -> Task:
    registration = prepare_registration(home, chest_of(home), silo_id=identity.silo_id, provenance="synthetic")
    made = plan(registration.benchmark)
    key = public_key_text(identity.key.public_key())
    masking = SecureAggregation(members=tuple(Member(silo_id=one, public_key=key) for one in made.silos))
    body = RoundTask(
        study_id="study-7h2j5k8m",
        plan=made.model_copy(update={"norm_bound": None, "quorum": 3, "secure_aggregation": masking}),
        plan_digest="blake3:" + "a" * 64,
        round=4,
        validate_only=False,
        cohort=registration.fingerprint,
        weights=BlobReference(digest="blake3:" + "b" * 64, size=10),
    )
    return Task.model_validate(
        {"task_id": "task-11223344", "silo_id": identity.silo_id, "issued": "2026-01-01T00:00:00Z", "body": body},
        strict=False,
    )


def chest_of(home: Home) -> str:
    return next(path.name for path in sorted(home.cohorts.iterdir()) if (path / "manifest.json").exists())


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, StandIn]:
    return furnish(tmp_path_factory.mktemp("masked"))


def test_a_trained_update_waits_for_its_masks_and_its_lease_is_kept_across_a_restart(
    furnished: tuple[Home, StandIn],
) -> None:
    home, hub = furnished
    identity = load_identity(home)
    task, agent = masked_task(home, identity), Agent(home)
    assert isinstance(task.body, RoundTask)
    report, update = round_report(home, task.body.cohort)
    report = report.model_copy(update={"task_id": task.task_id})
    agent.book.claim(task.task_id, "round", seal(task, hub.key))
    claim = Claim(task, 30.0)
    assert not agent.rounds.begun(claim)
    assert agent.rounds.takes(claim, report, update)
    assert not update.exists()
    assert agent.rounds.begun(claim)
    assert agent.outbox.about("round-report", task.task_id) is None
    assert not agent.rounds.takes(claim, report, None), "a round that only validates has nothing to mask"
    agent.close()

    again = Agent(home)
    assert again.rounds.begun(claim)
    again.rounds.resume(lambda: False)
    assert [kept.task.task_id for kept in again.keeper.kept()] == [task.task_id]
    store = MaskingStore(home)
    (session,) = store.unfinished()
    stated = MaskingKeys.model_validate_json(session.keys.payload_bytes())
    assert (stated.silo_id, stated.round, session.state) == (identity.silo_id, 4, "advertised")
    assert stated.weight == session.weight > 0
    assert [path.stat().st_mode & 0o077 for path in (home.masking, home.masking / "sessions.sqlite")] == [0, 0]

    store.keep(protocol.close(session, "masking-void"))
    store.close()
    assert not again.rounds.begun(claim)
    late = Path(home.outbox / "late.safetensors")
    late.write_bytes(b"")
    with pytest.raises(PolicyRefusal, match="masking-closed"):
        again.rounds.takes(claim, report, late)
    again.close()
