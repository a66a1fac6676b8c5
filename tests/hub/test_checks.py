"""A check node runs a submission before any hospital gets it, and its signed report decides."""

from typing import Any

import pytest

from silo_node.wire.checks import CheckReport, CheckTask
from silo_node.wire.tasks import Task
from tests.hub.federation import Federation, SiloCaller, bundle_bytes, reference_to


def check_node(federation: Federation) -> SiloCaller:
    """Return the operator's own silo with a registered demo cohort."""
    from federation_hub.accounts.actors import SYSTEM
    from federation_hub.silos.service import set_checks

    silo = federation.silo("Operator")
    with federation.services.database.session() as session:
        set_checks(session, silo.silo_id, True, actor=SYSTEM)
    return silo


def claim_check(silo: SiloCaller) -> Task | None:
    import json

    from silo_node.wire.envelope import Envelope, open_envelope

    answer = silo.post("/tasks/claim", {"kinds": ["check"]}).get_json()
    if answer["task"] is None:
        return None
    return open_envelope(Envelope.model_validate_json(json.dumps(answer["task"])), Task, silo.hub_key)


def report(silo: SiloCaller, task: Task, **changes: Any) -> CheckReport:
    body = task.body
    assert isinstance(body, CheckTask)
    values = {
        "task_id": task.task_id,
        "silo_id": silo.silo_id,
        "benchmark": body.benchmark,
        "model": body.model.digest,
        "code": None,
        "cases": 50,
        "failed": 0,
        "seconds_mean": 0.01,
        "peak_memory_mb": 300.0,
        **changes,
    }
    return CheckReport.model_validate(values)


def test_a_submission_waits_for_its_check_and_then_takes_its_place(federation: Federation) -> None:
    """Meanwhile no hospital is asked to run it."""
    benchmark = federation.publish()
    operator, hospital = check_node(federation), federation.silo("Fir")
    for silo in (operator, hospital):
        assert silo.register_cohort(benchmark).status_code == 201
    ada = federation.researcher()
    submitted = ada.submit(bundle_bytes()).get_json()
    assert (submitted["state"], submitted["benchmarks"]) == ("checking", [])
    assert ada.submit(bundle_bytes()).get_json()["state"] == "checking"
    assert hospital.claim() is None
    task = claim_check(operator)
    assert task is not None
    assert isinstance(task.body, CheckTask)
    assert task.body.benchmark == reference_to(benchmark)
    assert claim_check(operator) is None, "asked once, however often it was submitted"
    answer = operator.post(f"/tasks/{task.task_id}/result", operator.seal(report(operator, task)))
    assert answer.get_json() == {"state": "accepted", "code": None}
    record = ada.get(f"/models/{submitted['digest']}").get_json()
    assert (record["state"], [place["state"] for place in record["benchmarks"]]) == ("accepted", ["approved"])
    assert hospital.claim() is not None
    assert operator.claim() is None, "its demo cohort counts on no leaderboard"


def test_a_model_that_fails_its_check_is_rejected_with_the_code(federation: Federation) -> None:
    """Its owner reads why; it can be submitted again."""
    benchmark = federation.publish()
    operator = check_node(federation)
    operator.register_cohort(benchmark)
    ada = federation.researcher()
    digest = ada.submit(bundle_bytes()).get_json()["digest"]
    task = claim_check(operator)
    assert task is not None
    bad = report(operator, task, code="model-not-deterministic")
    assert operator.post(f"/tasks/{task.task_id}/result", operator.seal(bad)).get_json()["state"] == "accepted"
    record = ada.get(f"/models/{digest}").get_json()
    assert (record["state"], record["code"]) == ("rejected", "model-not-deterministic")
    assert federation.audit(digest)[-1] == ("model.reject", "checking", "rejected")


@pytest.mark.parametrize("changes", [{"model": "blake3:" + "e" * 64}, {"task_id": "task-another12"}])
def test_a_report_on_something_else_decides_nothing(federation: Federation, changes: dict[str, Any]) -> None:
    """Nor does one that another silo signed."""
    benchmark = federation.publish()
    operator = check_node(federation)
    operator.register_cohort(benchmark)
    ada = federation.researcher()
    digest = ada.submit(bundle_bytes()).get_json()["digest"]
    task = claim_check(operator)
    assert task is not None
    wrong = operator.post(f"/tasks/{task.task_id}/result", operator.seal(report(operator, task, **changes)))
    assert wrong.get_json()["code"] == "report-wrong-task"
    assert ada.get(f"/models/{digest}").get_json()["state"] == "checking"


def test_without_a_check_node_for_its_benchmark_a_model_is_accepted_at_once(federation: Federation) -> None:
    """As before."""
    federation.publish()
    check_node(federation)
    assert federation.researcher().submit(bundle_bytes()).get_json()["state"] == "accepted"
