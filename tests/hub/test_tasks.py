"""Tasks: leased to one claim at a time, kept by heartbeats, answered once, refused with a code and never repaired."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from federation_hub.db import now
from federation_hub.evaluations.rules import TASK, Activity, wait_seconds
from federation_hub.evaluations.service import Candidate, groups_to_evaluate
from federation_hub.evaluations.tables import EstimateBlockRow, Task
from federation_hub.evaluations.tasks import cancel
from federation_hub.sweeper import sweep
from silo_node.wire.benchmarks import DisclosureLimits
from silo_node.wire.envelope import Envelope, new_key, seal
from silo_node.wire.estimates import EstimateBlock, RefusedModel
from silo_node.wire.tasks import Task as WireTask
from tests.hub.federation import Federation, SiloCaller, block_for, bundle_bytes

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEAT = {"state": "running", "done": 3, "total": 50}


class LeakyBlock(EstimateBlock):
    """A block of a node that was changed to send more than is declared."""

    doe_jane: float


@pytest.fixture
def silo(federation: Federation) -> SiloCaller:
    """An active silo with a cohort on a benchmark that one model was submitted to."""
    silo = federation.silo()
    silo.register_cohort(federation.publish())
    federation.researcher().submit(bundle_bytes())
    return silo


def claimed(silo: SiloCaller) -> WireTask:
    """Claim the task there is."""
    task = silo.claim()
    assert task is not None
    return task


def state_of(federation: Federation, task: WireTask) -> str:
    """Return a task's state in the database."""
    with federation.services.database.reading() as session:
        return session.get_one(Task, task.task_id).state


def lapse(federation: Federation) -> None:
    """Let every lease run out, on a hub that has been up for long."""
    object.__setattr__(federation.services, "started", now() - timedelta(hours=1))
    with federation.services.database.session() as session:
        session.execute(update(Task).values(lease_until=now() - timedelta(seconds=1)))


def blocks(federation: Federation) -> list[str]:
    """Return the states of all estimate blocks, oldest first."""
    with federation.services.database.reading() as session:
        return list(session.scalars(select(EstimateBlockRow.state).order_by(EstimateBlockRow.received)))


def evaluations(federation: Federation) -> list[dict[str, Any]]:
    """Return all evaluations, newest first."""
    return list(federation.admin.get("/evaluations").get_json()["evaluations"])


def test_a_task_is_signed_by_the_hub_and_names_exactly_what_to_do(silo: SiloCaller) -> None:
    """The silo checks it against the key it pinned; it holds no address, no code and no setting of the silo's."""
    task = claimed(silo)
    assert task.silo_id == silo.silo_id
    assert task.body.cohort == silo.fingerprint_of("first")
    assert len(task.body.models) == 1
    assert silo.get(f"/blobs/{task.body.models[0].digest}").status_code == 200


def test_two_requests_for_the_same_task_get_one_lease(federation: Federation, silo: SiloCaller) -> None:
    """The database has one writer: whoever comes second gets nothing, also at the very same time."""
    callers = [replace(silo, http=federation.app.test_client()) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda caller: caller.claim(), callers))
    assert [task is None for task in found].count(False) == 1


def test_a_silo_sees_only_its_own_tasks(federation: Federation, silo: SiloCaller) -> None:
    """Another silo neither claims, beats, answers nor reads what belongs to this one."""
    other, task = federation.silo("Other"), claimed(silo)
    assert other.claim() is None
    for path, body in (("heartbeat", BEAT), ("decline", {"code": "work-failed"})):
        assert other.post(f"/tasks/{task.task_id}/{path}", body).status_code == 404
    assert other.answer(task).status_code == 404
    assert other.get(f"/blobs/{task.body.models[0].digest}").status_code == 404


def test_an_honest_block_is_accepted_with_its_proof(federation: Federation, silo: SiloCaller) -> None:
    """The signed envelope is kept word for word, the evaluation is answered and the work is over."""
    task = claimed(silo)
    envelope = silo.seal(block_for(task))
    assert silo.post(f"/tasks/{task.task_id}/result", envelope).get_json() == {"state": "accepted", "code": None}
    assert evaluations(federation)[0]["state"] == "answered"
    assert silo.claim() is None
    with federation.services.database.reading() as session:
        row = session.scalars(select(EstimateBlockRow)).one()
        assert Envelope.model_validate_json(str(row.envelope).replace("'", '"')) == envelope
    assert [after for _, _, after in federation.audit(task.task_id)] == ["offered", "claimed", "reported", "accepted"]


def test_the_same_result_again_gets_the_same_answer(federation: Federation, silo: SiloCaller) -> None:
    """A silo whose connection broke sends it again; it is counted once."""
    task = claimed(silo)
    envelope = silo.seal(block_for(task))
    first, again = (silo.post(f"/tasks/{task.task_id}/result", envelope).get_json() for _ in range(2))
    assert first == again
    assert blocks(federation) == ["accepted"]


def test_a_second_result_is_refused(federation: Federation, silo: SiloCaller) -> None:
    """The first answer counts."""
    task = claimed(silo)
    silo.answer(task)
    assert silo.answer(task, patients=49).get_json()["code"] == "task-done"
    assert blocks(federation) == ["accepted"]


def test_a_heartbeat_extends_the_lease_and_shows_how_far_it_is(federation: Federation, silo: SiloCaller) -> None:
    """A held result is shown as waiting for a person."""
    task = claimed(silo)
    assert silo.post(f"/tasks/{task.task_id}/heartbeat", BEAT).get_json() == {"lease_seconds": 30.0, "cancelled": False}
    silo.post(f"/tasks/{task.task_id}/heartbeat", {**BEAT, "state": "held", "done": 50})
    (seen,) = evaluations(federation)
    assert (seen["task_state"], seen["progress_done"], seen["progress_total"], seen["held"]) == (
        "running",
        50,
        50,
        True,
    )


def test_a_lease_that_ran_out_is_offered_again(federation: Federation, silo: SiloCaller) -> None:
    """The silo that comes back claims the same task once more; the lapse is in the audit trail."""
    task = claimed(silo)
    lapse(federation)
    assert claimed(silo).task_id == task.task_id
    assert ("task.expire", "claimed", "offered") in federation.audit(task.task_id)


def test_the_hub_sweeps_leases_nobody_asks_about(federation: Federation, silo: SiloCaller) -> None:
    """A silo that is gone for good does not keep its task; whoever lost the lease is told so."""
    task = claimed(silo)
    lapse(federation)
    sweep(federation.services)
    assert state_of(federation, task) == "offered"
    assert silo.post(f"/tasks/{task.task_id}/heartbeat", BEAT).get_json()["code"] == "lease-lost"


def test_no_lease_runs_out_while_the_hub_was_away(federation: Federation, silo: SiloCaller) -> None:
    """A hub that was gone for a minute gives its silos one lease to come back before it hands work out again."""
    task = claimed(silo)
    lapse(federation)
    object.__setattr__(federation.services, "started", now())
    sweep(federation.services)
    assert state_of(federation, task) == "claimed"
    assert silo.post(f"/tasks/{task.task_id}/heartbeat", BEAT).status_code == 200


def test_an_answer_counts_although_its_lease_ran_out(federation: Federation, silo: SiloCaller) -> None:
    """A silo that was cut off did the work; its signature says so, and nobody else can have done it."""
    task = claimed(silo)
    lapse(federation)
    sweep(federation.services)
    assert silo.answer(task).get_json()["state"] == "accepted"


def test_a_task_that_always_runs_out_is_given_up(federation: Federation, silo: SiloCaller) -> None:
    """After the last attempt the evaluation ends with a code instead of coming back for ever."""
    for _ in range(federation.services.config.maximum_attempts):
        assert silo.claim() is not None
        lapse(federation)
    sweep(federation.services)
    assert silo.claim() is None
    (seen,) = evaluations(federation)
    assert (seen["state"], seen["code"]) == ("declined", "work-failed")


def test_a_declined_task_ends_its_evaluation_with_the_site_s_code(federation: Federation, silo: SiloCaller) -> None:
    """Nobody nags: the same models come again only when the benchmark's owner asks."""
    task = claimed(silo)
    answer = silo.post(f"/tasks/{task.task_id}/decline", {"code": "policy-benchmark"})
    assert answer.status_code == 204
    (seen,) = evaluations(federation)
    assert (seen["state"], seen["code"]) == ("declined", "policy-benchmark")
    assert silo.claim() is None
    federation.admin.post("/benchmarks/chest_phantom/1/evaluations")
    assert claimed(silo).body.attempt == 2


def test_a_retry_is_offered_again_after_a_pause(federation: Federation, silo: SiloCaller) -> None:
    """A silo that cannot now can later."""
    task = claimed(silo)
    silo.post(f"/tasks/{task.task_id}/decline", {"code": "sandbox-unavailable", "retry": True})
    assert silo.claim() is None
    with federation.services.database.session() as session:
        session.execute(update(Task).values(available_from=now()))
    assert claimed(silo).task_id == task.task_id


def test_an_undeclared_field_is_refused_and_not_repeated(federation: Federation, silo: SiloCaller) -> None:
    """Neither in the message nor inside the signed payload does a patient's name come back, or get in."""
    task = claimed(silo)
    path = f"/tasks/{task.task_id}"
    beat = silo.post(f"{path}/heartbeat", {**BEAT, "patient_doe": "DOE^JANE"})
    assert (beat.status_code, beat.get_json()["code"], beat.get_json()["fields"]) == (
        422,
        "malformed-message",
        ["(undeclared)"],
    )
    outside = silo.post(f"{path}/result", {**silo.seal(block_for(task)).model_dump(mode="json"), "doe": "x"})
    inside = silo.post(f"{path}/result", silo.seal(LeakyBlock(**dict(block_for(task)), doe_jane=0.93)))
    for answer in (beat, outside, inside):
        assert "doe" not in answer.text.lower()
    assert outside.get_json()["code"] == "malformed-message"
    assert inside.get_json()["code"] == "bad-envelope"
    assert state_of(federation, task) == "claimed"


def test_a_result_must_be_signed_with_the_enrolled_key(federation: Federation, silo: SiloCaller) -> None:
    """A token alone cannot speak for the hospital."""
    task = claimed(silo)
    answer = silo.post(f"/tasks/{task.task_id}/result", seal(block_for(task), new_key()))
    assert answer.get_json()["code"] == "bad-envelope"
    assert state_of(federation, task) == "claimed"


def test_a_result_for_another_task_changes_nothing(federation: Federation, silo: SiloCaller) -> None:
    """A block sent to the wrong address is refused, and the right one is still welcome."""
    task = claimed(silo)
    assert silo.answer(task.model_copy(update={"task_id": "task-000000000000"})).status_code == 404
    block = silo.seal(block_for(task, task_id="task-000000000000"))
    assert silo.post(f"/tasks/{task.task_id}/result", block).get_json()["code"] == "estimate-wrong-task"
    assert silo.answer(task).get_json()["state"] == "accepted"


def test_nobody_answers_what_nobody_claimed(federation: Federation, silo: SiloCaller) -> None:
    """A task that is only offered has no answer."""
    task = claimed(silo)
    with federation.services.database.session() as session:
        session.execute(update(Task).values(state="offered", attempt=0))
    assert silo.answer(task).get_json()["code"] == "lease-lost"


STRICTER = DisclosureLimits(minimum_class=20, minimum_cell=5)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"attempt": 7}, "estimate-wrong-task"),
        ({"models": ("blake3:" + "0" * 64,)}, "estimate-wrong-task"),
        ({"cohort": "keyed-blake3:" + "0" * 64}, "estimate-wrong-task"),
        ({"evaluation_id": "eval-000000000000"}, "estimate-wrong-task"),
        ({"limits": STRICTER}, "estimate-small-cell"),
        ({"patients": 51}, "estimate-inconsistent"),
        ({"classes": ()}, "estimate-inconsistent"),
    ],
)
def test_a_block_that_does_not_hold_is_refused_and_nothing_of_it_kept(
    federation: Federation, silo: SiloCaller, changes: dict[str, Any], code: str
) -> None:
    """The refusal is visible with its code; the models are not sent again by themselves."""
    task = claimed(silo)
    assert silo.answer(task, **changes).get_json() == {"state": "refused", "code": code}
    assert blocks(federation) == []
    assert (state_of(federation, task), evaluations(federation)[0]["code"]) == ("refused", code)
    assert silo.claim() is None


def test_a_site_serves_the_models_it_runs_and_names_a_coded_no_to_the_others(
    federation: Federation, silo: SiloCaller
) -> None:
    """One model that is not run somewhere leaves the others there; its owner sees the code, and nobody nags."""
    federation.researcher("Bob").submit(bundle_bytes(1))
    task = claimed(silo)
    kept, other = (model.digest for model in task.body.models)
    whole = block_for(task)
    alone = task.model_copy(update={"body": task.body.model_copy(update={"models": task.body.models[:1]})})
    no = RefusedModel(model=other, code="policy-model-tier")
    block = block_for(alone, refused=(no,))
    assert silo.post(f"/tasks/{task.task_id}/result", silo.seal(block)).get_json()["state"] == "accepted"
    seen = evaluations(federation)[0]
    assert (seen["state"], seen["refused"]) == ("answered", {other: "policy-model-tier"})
    assert blocks(federation) == ["accepted"]
    assert silo.claim() is None
    assert whole.models == (kept, other)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept, other: {"refused": ()},
        lambda kept, other: {"refused": (RefusedModel(model="blake3:" + "9" * 64, code="policy-model-tier"),)},
        lambda kept, other: {"refused": (RefusedModel(model=kept, code="policy-model-tier"),)},
        lambda kept, other: {"refused": (RefusedModel(model=other, code="x-y"),) * 2},
    ],
    ids=["left out in silence", "one nobody asked for", "run and refused", "refused twice"],
)
def test_a_model_is_run_or_refused_and_no_other_is_named(
    federation: Federation, silo: SiloCaller, change: Callable[[str, str], dict[str, Any]]
) -> None:
    """A site cannot drop a model without a word, nor answer for one that was not in its task."""
    federation.researcher("Bob").submit(bundle_bytes(1))
    task = claimed(silo)
    kept, other = (model.digest for model in task.body.models)
    alone = task.model_copy(update={"body": task.body.model_copy(update={"models": task.body.models[:1]})})
    answer = silo.post(f"/tasks/{task.task_id}/result", silo.seal(block_for(alone, **change(kept, other))))
    assert answer.status_code == 422 or answer.get_json()["code"] == "estimate-wrong-task"
    assert blocks(federation) == []


def test_a_new_model_gets_the_whole_set_evaluated_again(federation: Federation, silo: SiloCaller) -> None:
    """Only scores on the same cases have a covariance, so the block that follows supersedes the one before."""
    silo.answer(claimed(silo))
    federation.researcher("Bo").submit(bundle_bytes(1))
    task = claimed(silo)
    assert (len(task.body.models), task.body.attempt) == (2, 1)
    assert [model.digest for model in task.body.models] == sorted(model.digest for model in task.body.models)
    assert silo.answer(task).get_json()["state"] == "accepted"
    assert blocks(federation) == ["superseded", "accepted"]


def test_an_offered_task_is_replaced_when_a_model_comes(federation: Federation, silo: SiloCaller) -> None:
    """Nobody evaluates one model when two are there."""
    federation.researcher("Bo").submit(bundle_bytes(1))
    assert len(claimed(silo).body.models) == 2
    assert [row["state"] for row in evaluations(federation)] == ["open", "cancelled"]


def test_a_running_evaluation_is_left_and_the_new_model_follows(federation: Federation, silo: SiloCaller) -> None:
    """Work that was begun is not thrown away."""
    task = claimed(silo)
    federation.researcher("Bo").submit(bundle_bytes(1))
    assert silo.claim() is None
    assert silo.answer(task).get_json()["state"] == "accepted"
    assert len(claimed(silo).body.models) == 2


def test_a_cancelled_task_says_so_at_its_next_heartbeat(federation: Federation, silo: SiloCaller) -> None:
    """The silo drops the work; a result that comes all the same is late."""
    task = claimed(silo)
    with federation.services.database.session() as session:
        cancel(session, task.task_id)
    assert silo.post(f"/tasks/{task.task_id}/heartbeat", BEAT).get_json() == {"lease_seconds": 0.0, "cancelled": True}
    assert silo.answer(task).get_json()["state"] == "late"
    assert blocks(federation) == []


def test_an_idle_silo_s_questions_write_nothing(federation: Federation) -> None:
    """Polling takes no write lock, whatever the number of silos."""
    silo = federation.silo()
    silo.claim()
    with federation.services.database.session():
        assert silo.claim() is None


@pytest.mark.parametrize(
    ("activity", "seconds"),
    [
        (Activity(in_study=True, last_change=None, silos=4), 0.1),
        (Activity(in_study=True, last_change=NOON - timedelta(seconds=37), silos=4), 2.0),
        (Activity(in_study=False, last_change=NOON, silos=4), 0.5),
        (Activity(in_study=False, last_change=NOON - timedelta(minutes=5), silos=4), 20.0),
        (Activity(in_study=False, last_change=None, silos=4), 20.0),
        (Activity(in_study=True, last_change=NOON, silos=200), 5.0),
        (Activity(in_study=False, last_change=None, silos=1000), 25.0),
        (Activity(in_study=False, last_change=None, silos=100_000), 60.0),
    ],
)
def test_the_hub_says_how_soon_to_ask_again(activity: Activity, seconds: float) -> None:
    """A tenth of a second in a running study, more where hundreds of silos ask, and the idle time otherwise."""
    assert wait_seconds(activity, NOON + timedelta(seconds=3), 20.0) == pytest.approx(seconds)


def test_at_most_fifty_models_are_evaluated_together() -> None:
    """In the order they came, the newest group first, each with the baselines and in the order of digests."""
    many = [Candidate(f"blake3:{place:064d}", 1, place == 0, place) for place in range(60)]
    newest, oldest = groups_to_evaluate(many)
    assert newest[0].baseline
    assert oldest[0].baseline
    assert [entry.age for entry in oldest[1:]] == list(range(1, 50))
    assert [entry.age for entry in newest[1:]] == list(range(50, 60))
    assert groups_to_evaluate(many[:50]) == (tuple(many[:50]),)
    assert groups_to_evaluate([]) == ()


def test_a_full_group_stays_as_it_is_when_more_models_come() -> None:
    """So that its blocks stand; only the newest group is evaluated again."""
    many = [Candidate(f"blake3:{place:064d}", 1, False, place) for place in range(130)]
    before, after = groups_to_evaluate(many[:120]), groups_to_evaluate(many)
    assert before[1:] == after[1:]
    assert set(before[0]) < set(after[0])


@pytest.mark.parametrize("final", ["accepted", "refused", "declined", "cancelled"])
def test_what_is_over_stays_over(final: str) -> None:
    """No event leads out of a final state."""
    assert final in TASK.final
