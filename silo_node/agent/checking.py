"""The check node's work: one submitted model, judged and run twice in the jail on a public demo cohort.

An ordinary node with ``check_node = true`` does it, behind the same door and in the same jail as a hospital's. A model
that is at fault gets its code in a signed report; a fault of this node's own is declined, like any task.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.container import ContainerModel
from silo_node.agent.claims import Claim
from silo_node.agent.evaluation import SPLIT, score_in_jail
from silo_node.agent.holdings import Holding, find_holding, verify_holding
from silo_node.agent.judging import judged_sound
from silo_node.agent.node import Node, persist
from silo_node.agent.scores import CaseScore, read_scores
from silo_node.benchmarks import known_benchmark
from silo_node.hub import Hub
from silo_node.policy import AskedModel, EvaluationRequest, decide_models, decide_question, load_policy
from silo_node.policy.schema import BudgetRules, RequesterRules
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.checks import CheckReport, CheckTask
from silo_node.wire.digests import hex_part
from silo_node.wire.errors import BadInput, MedSiloError, PolicyRefusal, WorkFailed

RUNS = 2
CASES = 200
"""A larger demo cohort is checked whole as well, but this many are enough to report on."""

MOSTLY_FAILED = 0.5
"""Beyond this share of failed cases the model does not fit the benchmark."""


def check(node: Node, hub: Hub, claim: Claim, body: CheckTask) -> CheckReport:
    """Check a model and return the report, unsigned; raises what is not the model's fault."""
    holding = _permitted(node, body)
    longest = node.config.poll.backoff_seconds
    definition = persist(lambda: known_benchmark(node.home, body.benchmark, hub), claim.cancelled, longest)
    persist(lambda: hub.fetch_model(body.model, node.home.bundles), claim.cancelled, longest)
    verify_holding(node.home, holding)
    try:
        verdict = judged_sound(node, body.model, definition)
        containers = {} if verdict.container is None else {body.model.digest: verdict.container}
        if containers:
            _let_in(node, body)
        runs = [_run(node, claim, body, holding, definition, containers) for _ in range(RUNS)]
    except (BadInput, WorkFailed) as error:
        return _report(node, claim, body, error, [])
    return _report(node, claim, body, fault(runs), runs[0])


def fault(runs: Sequence[Sequence[CaseScore]]) -> MedSiloError | None:
    """Return what is wrong with a model that ran: it answers too few cases, or not the same twice."""
    first, *others = [[_answer(score) for score in scores] for scores in runs]
    if sum(score.failed for score in runs[0]) > MOSTLY_FAILED * len(runs[0]):
        return WorkFailed("model-incompatible", "it has no usable answer for most cases")
    if any(other != first for other in others):
        return WorkFailed("model-not-deterministic", "the same cases had another answer the second time")
    return None


def _answer(score: CaseScore) -> str:
    """Return what must be the same in every run: all but the cost."""
    return json.dumps(score.model_dump(mode="json", exclude={"seconds", "peak_memory_mb"}), sort_keys=True)


def _permitted(node: Node, body: CheckTask) -> Holding:
    holding = find_holding(node.home, body.cohort, body.benchmark)
    request = EvaluationRequest(body.benchmark.name, holding.manifest.count(SPLIT) if holding else None, ())
    decision = decide_question(load_policy(node.home), request)
    if decision.code is not None or holding is None:
        raise PolicyRefusal(decision.code or "cohort-unknown", f"rule {decision.rule}: {decision.words}")
    return holding


def _let_in(node: Node, body: CheckTask) -> None:
    """Ask the operator's own policy about a model with code: here too, only what was let in by its digest runs."""
    asked = AskedModel(body.model.digest, tier=3)
    rules = load_policy(node.home).model_copy(update={"requesters": RequesterRules(), "budget": BudgetRules()})
    decision = decide_models(rules, body.benchmark.name, [asked])[asked.digest]
    if decision.code is not None:
        raise PolicyRefusal(decision.code, f"rule {decision.rule}: {decision.words}")


def _run(
    node: Node,
    claim: Claim,
    body: CheckTask,
    holding: Holding,
    definition: BenchmarkDefinition,
    containers: Mapping[str, ContainerModel],
) -> list[CaseScore]:
    with tempfile.TemporaryDirectory(prefix="job-check-", dir=node.home.scratch) as name:
        out = Path(name)
        score_in_jail(node, claim, holding, definition, [body.model], out, containers)
        cases = sorted(case.case for case in holding.manifest.cases if case.split == SPLIT)
        scores = read_scores(out / "scores" / f"{hex_part(body.model.digest)}.jsonl", cases)
        return sorted(scores, key=lambda score: score.case)


def _report(
    node: Node, claim: Claim, body: CheckTask, error: MedSiloError | None, scores: Sequence[CaseScore]
) -> CheckReport:
    seconds = sum(score.seconds for score in scores) / len(scores) if scores else 0.0
    return CheckReport(
        task_id=claim.task.task_id,
        silo_id=node.identity.silo_id,
        benchmark=body.benchmark,
        model=body.model.digest,
        code=None if error is None else error.code,
        cases=len(scores),
        failed=sum(score.failed for score in scores),
        seconds_mean=float(f"{round(seconds, 4):.2g}"),
        peak_memory_mb=max((score.peak_memory_mb for score in scores), default=0.0),
    )
