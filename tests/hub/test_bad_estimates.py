"""Estimates and benchmarks that cannot be: each is refused with a code, and no board changes."""

import json

import pytest

from federation_hub.leaderboards.service import latest
from silo_node.wire.errors import PROBLEMS
from silo_node.wire.estimates import ClassEstimates, MetricEstimate
from silo_node.wire.tasks import Task
from tests.hub.federation import Federation, SiloCaller, block_for, bundle_bytes, definition


@pytest.fixture
def silo(federation: Federation) -> SiloCaller:
    """An active silo with a cohort on a benchmark that two models were submitted to."""
    silo = federation.silo()
    silo.register_cohort(federation.publish())
    for seed in (1, 2):
        federation.researcher(f"Ada {seed}").submit(bundle_bytes(seed))
    return silo


def claimed(silo: SiloCaller) -> Task:
    task = silo.claim()
    assert task is not None
    return task


def with_cov(cov: tuple[tuple[float, ...], ...], *, sizes: tuple[int, int] = (25, 25)) -> dict[str, object]:
    metric = MetricEstimate(metric="auroc", status="estimated", theta=(0.8, 0.81), cov=cov)
    entry = ClassEstimates(label="opacity", positives=sizes[0], negatives=sizes[1], metrics=(metric,))
    return {"classes": (entry,)}


@pytest.mark.parametrize(
    ("cov", "code"),
    [
        (((0.002, 0.003), (0.003, 0.002)), "estimate-not-psd"),
        (((0.002, 0.001), (0.0, 0.002)), "estimate-not-psd"),
        (((1e-9, 0.0), (0.0, 0.002)), "estimate-inconsistent"),
        (((0.3, 0.0), (0.0, 0.002)), "estimate-inconsistent"),
    ],
    ids=["correlation over one", "not symmetric", "too small for n", "too large for n"],
)
def test_a_covariance_that_cannot_be_is_refused(
    federation: Federation, silo: SiloCaller, cov: tuple[tuple[float, ...], ...], code: str
) -> None:
    """And never repaired: the board stays as it was, which here is none."""
    answer = silo.answer(claimed(silo), **with_cov(cov))
    assert answer.get_json() == {"state": "refused", "code": code}
    with federation.services.database.reading() as session:
        assert latest(session, "chest_phantom") is None


def test_a_block_for_a_model_nobody_submitted_is_refused(silo: SiloCaller) -> None:
    """A task says which models; others have no place in its answer."""
    task = claimed(silo)
    models = (block_for(task).models[0], "blake3:" + "7" * 64)
    assert silo.answer(task, models=models).get_json()["code"] == "estimate-wrong-task"


def test_a_metric_the_benchmark_does_not_have_is_refused(silo: SiloCaller) -> None:
    """Known or not, it was not asked for."""
    task = claimed(silo)
    metric = MetricEstimate(metric="f1_score", status="estimated", theta=(0.8, 0.8), cov=((0.002, 0), (0, 0.002)))
    entry = ClassEstimates(label="opacity", positives=25, negatives=25, metrics=(metric,))
    assert silo.answer(task, classes=(entry,)).get_json()["code"] == "estimate-inconsistent"


def test_a_benchmark_with_an_unknown_metric_is_not_published(federation: Federation) -> None:
    """Nor one whose metric belongs to another kind of task."""
    for name in ("f1_score", "dice"):
        body = json.loads(definition().model_dump_json()) | {"metrics": [{"name": name, "primary": True}]}
        answer = federation.admin.post("/benchmarks", body)
        assert answer.status_code == 422
        assert answer.get_json()["code"] in PROBLEMS


def test_a_site_with_three_cases_can_say_that_it_has_too_few(federation: Federation, silo: SiloCaller) -> None:
    """An estimate from three is refused; an undefined one is taken, counts for nothing, and breaks no board."""
    task = claimed(silo)
    few = {"cases": 3, "patients": 3}
    undefined = MetricEstimate(metric="auroc", status="undefined", reason="too-few-positives")
    nothing = ClassEstimates(label="opacity", positives=None, negatives=None, metrics=(undefined,))
    answer = silo.answer(task, **few, classes=(nothing,))
    assert answer.get_json() == {"state": "accepted", "code": None}
    board = federation.anybody.get("/benchmarks/chest_phantom/leaderboard").get_json()
    assert {row["status"] for row in board["rows"]} == {"awaiting"}
    assert federation.app.test_client().get("/benchmarks/chest_phantom").status_code == 200


def test_an_estimate_from_three_cases_is_refused(silo: SiloCaller) -> None:
    """Whatever its numbers."""
    task = claimed(silo)
    answer = silo.answer(task, cases=3, patients=3, **with_cov(((0.002, 0.0), (0.0, 0.002)), sizes=(2, 1)))
    assert answer.get_json()["state"] == "refused"


def test_a_report_from_a_revoked_silo_counts_for_nothing(federation: Federation, silo: SiloCaller) -> None:
    """It computed before it was shut out; its token is no longer one."""
    task = claimed(silo)
    with federation.services.database.session() as session:
        from federation_hub.accounts.actors import SYSTEM
        from federation_hub.silos.service import change

        change(session, silo.silo_id, "revoke", SYSTEM)
    answer = silo.answer(task)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "not-authenticated")
    with federation.services.database.reading() as session:
        assert latest(session, "chest_phantom") is None
