"""A silo's signed answer to a task, whatever its kind: opened, judged once, and remembered."""

from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.checks.service import take_report
from federation_hub.evaluations.blocks import question_of, refusal_of, store
from federation_hub.evaluations.rules import EVALUATION, TASK
from federation_hub.evaluations.service import close, plan_evaluations
from federation_hub.evaluations.tables import Evaluation, Task
from federation_hub.evaluations.tasks import move, own_task
from federation_hub.leaderboards.revisions import outdate
from federation_hub.services import Services
from federation_hub.silos.signed import open_signed
from federation_hub.statistics.service import take_answer
from federation_hub.studies.reports import Finding, receive_report
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import BadEnvelope, Envelope
from silo_node.wire.errors import MedSiloError, WireError
from silo_node.wire.estimates import EstimateBlock
from silo_node.wire.studies import RoundReport
from silo_node.wire.tasks import ResultAnswer


def receive_result(
    session: Session,
    services: Services,
    *,
    task_id: str,
    envelope: Envelope,
    actor: Actor,
    finding: Finding | None = None,
) -> ResultAnswer:
    """Take the answer to a task and say what became of it. The same answer sent again gets the same reply.

    ``finding`` is what was found in the update file of a round before the transaction began.
    Raises ``not-found``, ``bad-envelope``, ``estimate-wrong-task`` where it names another task, ``task-done`` where
    another answer came before, ``lease-lost`` where the task was never claimed.
    """
    task = own_task(session, task_id, actor)
    digest = _payload_digest(envelope)
    if task.result_digest is not None:
        return _again(task, digest)
    if task.kind == "evaluation":
        answer = _take_block(session, task, envelope, actor)
    elif task.kind == "check":
        answer = take_report(session, task, envelope, actor)
    elif task.kind == "statistics":
        answer = take_answer(session, task, envelope, actor)
    else:
        answer = _take_report(session, services, task, envelope, actor, finding)
    task.result_digest, task.result_state = digest, answer.state
    task.code = answer.code or task.code
    return answer


def _take_block(session: Session, task: Task, envelope: Envelope, actor: Actor) -> ResultAnswer:
    block = open_signed(session, task.silo_id, envelope, EstimateBlock)
    if block.task_id != task.id:
        raise WireError("estimate-wrong-task")
    if task.state == "cancelled":
        return ResultAnswer(state="late")
    _report(session, task, actor)
    evaluation = session.get_one(Evaluation, task.evaluation_id)
    refusal = refusal_of(block, question_of(session, task, evaluation))
    move(session, task, "accept" if refusal is None else "refuse", actor, refusal)
    if EVALUATION.allows(evaluation.state, "answer"):
        close(session, evaluation, "answer" if refusal is None else "refuse", actor, refusal)
    benchmark = session.get_one(Benchmark, evaluation.benchmark_id)
    if refusal is None:
        evaluation.refused = {one.model: one.code for one in block.refused}
        store(session, task, evaluation, block, envelope)
        outdate(session, [benchmark])
    plan_evaluations(session, benchmark)
    return ResultAnswer(state="accepted" if refusal is None else "refused", code=refusal)


def _take_report(
    session: Session, services: Services, task: Task, envelope: Envelope, actor: Actor, finding: Finding | None
) -> ResultAnswer:
    report = open_signed(session, task.silo_id, envelope, RoundReport)
    if report.task_id != task.id:
        raise WireError("bad-envelope")
    if task.state != "cancelled":
        _report(session, task, actor)
    answer = receive_report(session, services, task, report, envelope, finding)
    if task.state == "reported":
        move(session, task, "refuse" if answer.state == "refused" else "accept", actor, answer.code)
    return answer


def _report(session: Session, task: Task, actor: Actor) -> None:
    if task.attempt == 0:
        raise MedSiloError("lease-lost")
    if not TASK.allows(task.state, "report"):
        raise MedSiloError("task-done")
    move(session, task, "report", actor)


def _payload_digest(envelope: Envelope) -> str:
    try:
        return digest_bytes(envelope.payload_bytes())
    except BadEnvelope as error:
        raise WireError("bad-envelope") from error


def _again(task: Task, digest: str) -> ResultAnswer:
    if task.result_digest != digest:
        raise MedSiloError("task-done")
    return ResultAnswer.model_validate({"state": task.result_state, "code": task.code})
