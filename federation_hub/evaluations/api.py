"""Routes of tasks (for silos) and of evaluations (for people)."""

from collections.abc import Sequence

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from federation_hub.accounts.actors import Actor
from federation_hub.api import PERSON, SILO, current_actor, route
from federation_hub.benchmarks.service import find
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.evaluations import leases
from federation_hub.evaluations.disputes import dispute, owns, result_view, settle
from federation_hub.evaluations.listing import visible_evaluations
from federation_hub.evaluations.matrix import matrix, sites_asked
from federation_hub.evaluations.messages import (
    Dispute,
    EvaluationList,
    EvaluationView,
    Matrix,
    ResultView,
    Retry,
    Settlement,
)
from federation_hub.evaluations.polls import look
from federation_hub.evaluations.results import receive_result
from federation_hub.evaluations.rules import wait_seconds
from federation_hub.evaluations.service import Again, plan_evaluations
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task
from federation_hub.evaluations.tasks import own_task
from federation_hub.hanging_up import hang_up
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.upkeep import changing_boards
from federation_hub.models.messages import OfBenchmark
from federation_hub.paging import PageQuery, page
from federation_hub.services import Services, services
from federation_hub.studies.reports import examine_ahead
from federation_hub.studies.service import consents_for
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import MedSiloError
from silo_node.wire.tasks import ClaimAnswer, ClaimRequest, Decline, Heartbeat, HeartbeatAnswer, ResultAnswer

blueprint = Blueprint("evaluations", __name__)
_WORTH_HANGING_UP = 2.0
"""Who is told to wait longer is asked to call again instead of holding the line."""


@route(blueprint, "POST", "/tasks/claim", body=ClaimRequest, returns=ClaimAnswer, roles=SILO)
def claim(body: ClaimRequest) -> ClaimAnswer:
    """Hand out the next task under a lease, and say how soon to ask again."""
    hub, actor, at = services(), current_actor(), now()
    with hub.database.reading() as session:
        poll = look(session, actor.id, body.kinds, at)
        asked = consents_for(session, actor.id, hub_public_key=hub.public_key) if poll.asked else ()
    envelope = None
    hub.seen.note(actor.id, at)
    if poll.work:
        with hub.database.session() as session:
            envelope = leases.claim(session, hub, kinds=body.kinds, actor=actor)
    wait = wait_seconds(poll.activity, at, hub.config.poll_idle_seconds)
    if wait >= _WORTH_HANGING_UP:
        hang_up()
    return ClaimAnswer(task=envelope, lease_seconds=hub.config.lease_seconds, wait_seconds=wait, consents=asked)


@route(blueprint, "POST", "/tasks/<task_id>/heartbeat", body=Heartbeat, returns=HeartbeatAnswer, roles=SILO)
def heartbeat(task_id: str, body: Heartbeat) -> HeartbeatAnswer:
    """Keep a lease alive."""
    hub = services()
    with hub.database.session() as session:
        return leases.heartbeat(session, hub, task_id, body, current_actor())


@route(blueprint, "POST", "/tasks/<task_id>/decline", body=Decline, roles=SILO)
def decline(task_id: str, body: Decline) -> None:
    """Say no to a task, for a coded reason."""
    hub = services()
    with hub.database.session() as session:
        study_id = leases.decline(session, task_id, body, current_actor()).study_id
    _wake(hub, study_id)


@route(blueprint, "POST", "/tasks/<task_id>/result", body=Envelope, returns=ResultAnswer, roles=SILO)
def result(task_id: str, body: Envelope) -> ResultAnswer:
    """Take a task's signed answer: an estimate block or a round report."""
    hub, actor = services(), current_actor()
    with hub.database.reading() as session:
        study_id = own_task(session, task_id, actor).study_id
    # An update of a gigabyte takes most of a second to read, and the database has one writer.
    finding = examine_ahead(hub, task_id, body) if study_id is not None else None
    with changing_boards(hub) as session:
        answer = receive_result(session, hub, task_id=task_id, envelope=body, actor=actor, finding=finding)
    _wake(hub, study_id)
    return answer


@route(blueprint, "GET", "/evaluations", query=OfBenchmark, returns=EvaluationList, roles=PERSON)
def evaluations(query: OfBenchmark) -> EvaluationList:
    """List the evaluations a person may see, newest first."""
    actor = current_actor()
    wanted = visible_evaluations(actor, query.benchmark)
    with services().database.reading() as session:
        found = page(session, wanted, query, Evaluation.created, Evaluation.id, newest_first=True)
        return EvaluationList(evaluations=_views(session, found.rows, actor), next=found.next)


@route(blueprint, "GET", "/evaluations/<evaluation_id>", returns=EvaluationView, roles=PERSON)
def evaluation(evaluation_id: str) -> EvaluationView:
    """Return one evaluation."""
    actor = current_actor()
    with services().database.reading() as session:
        row = session.scalar(visible_evaluations(actor).where(Evaluation.id == evaluation_id))
        if row is None:
            raise MedSiloError("not-found")
        return _views(session, [row], actor)[0]


@route(
    blueprint,
    "POST",
    "/benchmarks/<name>/<int:version>/evaluations",
    body=Retry,
    returns=EvaluationList,
    roles={"benchmark-owner", "hub-admin"},
)
def evaluate_again(name: str, version: int, body: Retry) -> EvaluationList:
    """Offer approved cohorts an evaluation again, also those that declined; a visible further attempt."""
    actor = current_actor()
    with services().database.session() as session:
        benchmark = find(session, name, version)
        if not owns(benchmark, actor):
            raise MedSiloError("not-permitted")
        if body.silo_id is not None and all(silo.id != body.silo_id for silo in sites_asked(session, benchmark)):
            raise MedSiloError("not-found")
        made = plan_evaluations(session, benchmark, again=Again(body.silo_id, body.reason))
        rows = [session.get_one(Evaluation, evaluation_id) for evaluation_id in made]
        return EvaluationList(evaluations=_views(session, rows, actor))


@route(
    blueprint,
    "GET",
    "/benchmarks/<name>/<int:version>/matrix",
    query=PageQuery,
    returns=Matrix,
    roles={"benchmark-owner", "hub-admin"},
)
def benchmark_matrix(name: str, version: int, query: PageQuery) -> Matrix:
    """Tell the benchmark's owner where every model stands at every site, and why a cell is empty."""
    with services().database.reading() as session:
        benchmark = find(session, name, version)
        if not owns(benchmark, current_actor()):
            raise MedSiloError("not-permitted")
        return matrix(session, benchmark, query)


@route(blueprint, "POST", "/evaluations/<evaluation_id>/dispute", body=Dispute, returns=ResultView, roles=PERSON)
def dispute_result(evaluation_id: str, body: Dispute) -> ResultView:
    """Dispute a hospital's result for a coded reason: it leaves the board until the benchmark's owner has decided."""
    hub = services()
    with changing_boards(hub) as session:
        row = dispute(session, evaluation_id, body.reason, current_actor())
        outdate(session, [session.get_one(Benchmark, row.benchmark_id)])
        return result_view(row)


@route(
    blueprint,
    "POST",
    "/evaluations/<evaluation_id>/settlement",
    body=Settlement,
    returns=ResultView,
    roles={"benchmark-owner", "hub-admin"},
)
def settle_dispute(evaluation_id: str, body: Settlement) -> ResultView:
    """Uphold a disputed result, or withdraw it for good; whoever disputed it cannot decide."""
    hub = services()
    with changing_boards(hub) as session:
        row = settle(session, evaluation_id, body, current_actor())
        outdate(session, [session.get_one(Benchmark, row.benchmark_id)])
        return result_view(row)


def _wake(hub: Services, study_id: str | None) -> None:
    if study_id is not None and hub.engine is not None:
        hub.engine.notify(study_id)


def _views(session: Session, rows: Sequence[Evaluation], actor: Actor) -> tuple[EvaluationView, ...]:
    """Return evaluations as a person sees them, in as many queries whatever their number, without blocks' numbers."""
    ids = [row.id for row in rows]
    wanted = select(Benchmark).where(Benchmark.id.in_({row.benchmark_id for row in rows}))
    benchmarks = {row.id: row for row in session.scalars(wanted)}
    asked = session.scalars(select(Task).where(Task.evaluation_id.in_(ids)).options(defer(Task.body)))
    tasks = {row.evaluation_id: row for row in asked}
    told = select(EstimateBlockRow).where(EstimateBlockRow.evaluation_id.in_(ids))
    without_numbers = defer(EstimateBlockRow.block), defer(EstimateBlockRow.envelope)
    blocks = {row.evaluation_id: row for row in session.scalars(told.options(*without_numbers))}
    return tuple(_view(row, benchmarks[row.benchmark_id], tasks.get(row.id), blocks.get(row.id), actor) for row in rows)


def _view(
    row: Evaluation, benchmark: Benchmark, task: Task | None, block: EstimateBlockRow | None, actor: Actor
) -> EvaluationView:
    return EvaluationView(
        evaluation_id=row.id,
        benchmark=benchmark.name,
        benchmark_version=benchmark.version,
        silo_id=row.silo_id if owns(benchmark, actor) else None,
        models=tuple(row.models),
        attempt=row.attempt,
        state=row.state,
        task_state=task.state if task else None,
        code=row.code,
        reason=row.reason,
        result=result_view(block) if block else None,
        refused=row.refused,
        held=task.held if task else False,
        progress_done=task.progress_done if task else 0,
        progress_total=task.progress_total if task else 0,
        created=row.created,
        finished=row.finished,
    )
