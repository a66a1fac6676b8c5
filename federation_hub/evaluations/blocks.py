"""Taking in estimate blocks: a block answers its task exactly and its numbers hold, or it is refused with a code.

Nothing is ever repaired: what a silo signed is stored as it came, or not at all.
"""

from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.statistics.rules import benchmark_rules
from benchmarks.statistics.validate import refusal
from federation_hub.accounts.actors import SYSTEM
from federation_hub.accounts.audit import record
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.evaluations.rules import BLOCK
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task
from federation_hub.stored import read_stored
from silo_node.wire.benchmarks import BenchmarkDefinition, DisclosureLimits
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import Envelope
from silo_node.wire.estimates import EstimateBlock
from silo_node.wire.tasks import EvaluationTask


@dataclass(frozen=True, slots=True)
class Question:
    """What a block has to answer."""

    task_id: str
    silo_id: str
    task: EvaluationTask
    definition: BenchmarkDefinition


def refusal_of(block: EstimateBlock, question: Question) -> str | None:
    """Return the code for which a block is refused, or None."""
    if not answers(block, question):
        return "estimate-wrong-task"
    if not at_least_as_strict(block.limits, question.definition.disclosure):
        return "estimate-small-cell"
    rules = benchmark_rules(question.definition.model_dump(mode="json"), digest=question.task.benchmark.digest)
    # The silo's own limits may be stricter; what it says it has kept to is checked as well.
    own = block.limits.model_dump(mode="json", include={"minimum_class", "minimum_cell", "decimals"})
    return refusal(block.model_dump(mode="json"), replace(rules, limits=rules.limits.with_site_policy(**own)))


def answers(block: EstimateBlock, question: Question) -> bool:
    """Tell whether a block answers this very task: its ids, benchmark, cohort, attempt, and each model in order.

    A model is either among those the site ran or among those it says a coded no to.
    """
    task, refused = question.task, {one.model for one in block.refused}
    asked = [model.digest for model in task.models]
    return (
        (block.task_id, block.silo_id, block.evaluation_id) == (question.task_id, question.silo_id, task.evaluation_id)
        and (block.benchmark, block.cohort, block.attempt) == (task.benchmark, task.cohort, task.attempt)
        and block.models == tuple(digest for digest in asked if digest not in refused)
        and refused <= set(asked)
        and block.started <= block.finished
    )


def at_least_as_strict(limits: DisclosureLimits, required: DisclosureLimits) -> bool:
    """Tell whether a site's disclosure limits are the benchmark's or stricter."""
    return (
        limits.minimum_class >= required.minimum_class
        and limits.minimum_cell >= required.minimum_cell
        and limits.minimum_sites >= required.minimum_sites
        and limits.decimals <= required.decimals
    )


def question_of(session: Session, task: Task, evaluation: Evaluation) -> Question:
    """Return what the answer to a task is judged by."""
    benchmark = session.get_one(Benchmark, evaluation.benchmark_id)
    return Question(
        task_id=task.id,
        silo_id=task.silo_id,
        task=read_stored(EvaluationTask, task.body),
        definition=read_stored(BenchmarkDefinition, benchmark.definition),
    )


def store(session: Session, task: Task, evaluation: Evaluation, block: EstimateBlock, envelope: Envelope) -> None:
    """Keep an accepted block with its proof; the cohort's earlier blocks are superseded by it."""
    earlier = select(EstimateBlockRow).where(
        EstimateBlockRow.cohort_id == evaluation.cohort_id, EstimateBlockRow.state == "accepted"
    )
    for row in session.scalars(earlier).all():
        before, row.state = row.state, BLOCK.after(row.state, "supersede")
        row.reason = evaluation.reason
        record(session, SYSTEM, "block.supersede", row.digest, before, row.state, evaluation.reason)
    row = EstimateBlockRow(
        digest=digest_bytes(envelope.payload_bytes()),
        evaluation_id=evaluation.id,
        task_id=task.id,
        benchmark_id=evaluation.benchmark_id,
        cohort_id=evaluation.cohort_id,
        silo_id=evaluation.silo_id,
        state="accepted",
        block=block.model_dump(mode="json"),
        envelope=envelope.model_dump(mode="json"),
        received=now(),
    )
    session.add(row)
    session.flush()
    record(session, SYSTEM, "block.accept", row.digest, None, row.state)
