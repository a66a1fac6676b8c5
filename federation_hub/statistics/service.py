"""Asking every silo one question about its cohort, taking the signed answers, and pooling what may be told."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.statistics.counts import mean_of, quantile_level
from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Organisation
from federation_hub.benchmarks.service import find, reference_to
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.tables import Task
from federation_hub.evaluations.tasks import move, offer
from federation_hub.silos.signed import open_signed
from federation_hub.silos.tables import Cohort, Silo
from federation_hub.statistics.messages import PooledCell, StatisticsRequest, StatisticsView
from federation_hub.statistics.tables import StatisticsAnswer, StatisticsQuery
from federation_hub.stored import read_stored
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import MedSiloError, WireError
from silo_node.wire.statistics import StatisticsQuestion, StatisticsReport, StatisticsTask, level_value
from silo_node.wire.tasks import ResultAnswer

_NO = ("declined", "refused", "cancelled")


def ask(session: Session, request: StatisticsRequest, *, actor: Actor) -> StatisticsQuery:
    """Ask every active silo with a registered cohort; raises ``benchmark-unknown``."""
    benchmark = find(session, request.benchmark)
    query = StatisticsQuery(
        benchmark_id=benchmark.id,
        owner_organisation_id=actor.organisation_id,
        owner_person_id=actor.id,
        question=request.question.model_dump(mode="json"),
    )
    session.add(query)
    session.flush()
    record(session, actor, "statistics.ask", query.id, None, "asked")
    organisation = session.get_one(Organisation, actor.organisation_id).name
    for cohort in _cohorts(session, benchmark):
        body = StatisticsTask(
            query_id=query.id,
            benchmark=reference_to(benchmark),
            cohort=cohort.fingerprint,
            question=request.question,
            organisation=organisation,
            purpose=request.purpose,
        )
        task_id = offer(session, silo_id=cohort.silo_id, body=body)
        session.add(StatisticsAnswer(task_id=task_id, query_id=query.id, report=None, envelope=None))
    return query


def take_answer(session: Session, task: Task, envelope: Envelope, actor: Actor) -> ResultAnswer:
    """Keep a silo's answer; raises ``report-wrong-task`` for one on anything but the task."""
    report = open_signed(session, task.silo_id, envelope, StatisticsReport)
    body = read_stored(StatisticsTask, task.body)
    asked = (task.id, task.silo_id, body.query_id, body.cohort)
    told_as_asked = (report.band is None) == (body.question.attribute is not None)
    if (report.task_id, report.silo_id, report.query_id, report.cohort) != asked or not told_as_asked:
        raise WireError("report-wrong-task")
    if task.state == "cancelled":
        return ResultAnswer(state="late")
    move(session, task, "report", actor)
    move(session, task, "accept", actor)
    answer = session.get_one(StatisticsAnswer, task.id)
    answer.report, answer.envelope = report.model_dump(mode="json"), envelope.model_dump(mode="json")
    return ResultAnswer(state="accepted")


def query_of(session: Session, query_id: str, actor: Actor) -> StatisticsQuery:
    """Return a question of this person's organisation; raises ``not-found`` for anybody else's."""
    found = session.get(StatisticsQuery, query_id)
    if found is None or (found.owner_organisation_id != actor.organisation_id and "hub-admin" not in actor.roles):
        raise MedSiloError("not-found")
    return found


def view(session: Session, query: StatisticsQuery) -> StatisticsView:
    """Return what the answers come to so far."""
    rows = session.execute(
        select(StatisticsAnswer, Task.state).join(Task, Task.id == StatisticsAnswer.task_id)
        .where(StatisticsAnswer.query_id == query.id).order_by(Task.silo_id)
    ).all()  # fmt: skip
    reports = [read_stored(StatisticsReport, row.report) for row, _ in rows if row.report is not None]
    benchmark = session.get_one(Benchmark, query.benchmark_id)
    question = read_stored(StatisticsQuestion, query.question)
    fewest = read_stored(BenchmarkDefinition, benchmark.definition).disclosure.minimum_sites
    cells = pooled(reports) if len(reports) >= fewest else ()
    ordered = _ordered(question, cells)
    quartiles = quantile_level(ordered, 0.25), quantile_level(ordered, 0.75)
    mean = mean_of(ordered)
    bands = [report.band for report in reports if report.band is not None]
    return StatisticsView(
        query_id=query.id,
        benchmark=benchmark.name,
        question=question,
        asked=len(rows),
        answered=len(reports),
        declined=sum(state in _NO for _, state in rows),
        bands={band: bands.count(band) for band in sorted(set(bands))},
        cells=cells,
        withheld=sum(cell.patients is None for report in reports for cell in report.cells),
        mean=None if mean is None else round(mean, 2),
        median=quantile_level(ordered, 0.5),
        quartiles=None if quartiles[0] is None or quartiles[1] is None else (quartiles[0], quartiles[1]),
        created=query.created,
    )


def pooled(reports: Sequence[StatisticsReport]) -> tuple[PooledCell, ...]:
    """Return the sums over the silos that told a level."""
    told: dict[str, list[int]] = {}
    for report in reports:
        for cell in report.cells:
            if cell.patients is not None:
                told.setdefault(cell.level, []).append(cell.patients)
    return tuple(
        PooledCell(level=level, patients=sum(counts), silos=len(counts)) for level, counts in sorted(told.items())
    )


def _ordered(question: StatisticsQuestion, cells: Sequence[PooledCell]) -> list[tuple[float, str, float]]:
    if question.attribute is None:
        return []
    values = [(level_value(question.attribute, cell.level), cell) for cell in cells]
    return [(value, cell.level, float(cell.patients)) for value, cell in values if value is not None]


def _cohorts(session: Session, benchmark: Benchmark) -> list[Cohort]:
    """Return the newest registered cohort of each active silo."""
    rows = session.scalars(
        select(Cohort)
        .join(Silo, Silo.id == Cohort.silo_id)
        .where(Cohort.benchmark_id == benchmark.id, Cohort.state == "registered", Silo.state == "active")
        .order_by(Cohort.silo_id, Cohort.created)
    )
    return list({cohort.silo_id: cohort for cohort in rows}.values())
