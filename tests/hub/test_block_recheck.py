"""The hub checks a site's limits again: a node that was changed to tell too much is refused, by this check alone."""

from dataclasses import replace
from typing import Any

import pytest

from federation_hub.evaluations.blocks import Question, refusal_of
from silo_node.wire.benchmarks import DisclosureLimits
from silo_node.wire.estimates import ClassEstimates, EstimateBlock, MetricEstimate
from silo_node.wire.tasks import EvaluationTask, Task
from tests.hub.federation import Federation, block_for, bundle_bytes, definition

LAX = DisclosureLimits(minimum_class=5, minimum_cell=5, minimum_sites=1, decimals=6)
STRICT = DisclosureLimits(minimum_class=20, minimum_cell=10, minimum_sites=1, decimals=3)


@pytest.fixture
def task(federation: Federation) -> Task:
    """A task as a silo claims it."""
    silo = federation.silo()
    silo.register_cohort(federation.publish())
    federation.researcher().submit(bundle_bytes())
    found = silo.claim()
    assert found is not None
    return found


def question(task: Task, limits: DisclosureLimits) -> Question:
    assert isinstance(task.body, EvaluationTask)
    return Question(task.task_id, task.silo_id, task.body, definition().model_copy(update={"disclosure": limits}))


def told(task: Task, limits: DisclosureLimits, positives: int = 25, **changes: Any) -> EstimateBlock:
    """Return a block over 50 cases that says it has kept to these limits."""
    variance = 0.002
    metric = MetricEstimate(metric="auroc", status="estimated", theta=(0.812,), cov=((variance,),))
    entry = ClassEstimates(label="opacity", positives=positives, negatives=50 - positives, metrics=(metric,))
    return block_for(task, limits=limits, classes=(entry.model_copy(update=changes),))


def test_an_honest_block_passes_the_strict_benchmark(task: Task) -> None:
    """So that the refusals below are of what was changed."""
    assert refusal_of(told(task, STRICT), question(task, STRICT)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"minimum_class": 19},
        {"minimum_cell": 9},
        {"minimum_sites": 0},
        {"decimals": 4},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_site_that_kept_to_laxer_limits_is_refused(task: Task, changed: dict[str, int]) -> None:
    """Each of them by itself; a benchmark that allowed as much would take the very same block."""
    asked = STRICT.model_copy(update={"minimum_sites": 2}) if "minimum_sites" in changed else STRICT
    kept = asked.model_copy(update={"minimum_sites": 1} if "minimum_sites" in changed else changed)
    block = told(task, kept)
    assert refusal_of(block, question(task, asked)) == "estimate-small-cell"
    assert refusal_of(block, question(task, kept)) is None


def test_a_class_of_few_that_is_told_all_the_same_is_refused(task: Task) -> None:
    """The block says that it kept to the limits, and its own counts say that it did not."""
    block = told(task, STRICT, positives=12)
    assert refusal_of(block, question(task, STRICT)) == "estimate-small-cell"
    lax = block.model_copy(update={"limits": LAX})
    assert refusal_of(lax, question(task, LAX)) is None


def test_a_sites_own_stricter_limits_are_held_against_it(task: Task) -> None:
    """What it says it has kept to must be true, also where the benchmark asks for less."""
    own = STRICT.model_copy(update={"minimum_class": 24})
    assert refusal_of(told(task, own), question(task, STRICT)) is None
    assert refusal_of(told(task, own, positives=22), question(task, STRICT)) == "estimate-small-cell"
    assert refusal_of(told(task, STRICT, positives=22), question(task, STRICT)) is None


@pytest.mark.parametrize(("theta", "variance"), [(0.8123, 0.002), (0.812, 0.0020000001), (0.8120000000000003, 0.002)])
def test_more_digits_than_it_says_are_refused(task: Task, theta: float, variance: float) -> None:
    """In an estimate and in its covariance, to the last bit: low digits are where pixels would travel."""
    metric = MetricEstimate(metric="auroc", status="estimated", theta=(theta,), cov=((variance,),))
    assert refusal_of(told(task, STRICT, metrics=(metric,)), question(task, STRICT)) == "estimate-inconsistent"
    if theta != 0.8120000000000003:
        fine = STRICT.model_copy(update={"decimals": 6})
        assert refusal_of(told(task, fine, metrics=(metric,)), question(task, fine)) is None


def test_a_block_is_for_its_own_task_only(task: Task) -> None:
    """An answer recorded for another attempt, silo or cohort counts for none."""
    asked = question(task, STRICT)
    assert refusal_of(told(task, STRICT), replace(asked, silo_id="silo-other1234")) == "estimate-wrong-task"
