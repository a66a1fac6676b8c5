"""A silo's signed answer to a round: examined before any transaction, judged inside one, and told to the study.

Reading an update of a gigabyte takes most of a second, and the database has one writer; so the file is examined
first (its address fixes its content, hence the finding) and only the finding enters the transaction.
"""

from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.aggregation.checks import verify_update
from federation_hub.aggregation.decoding import plain_update
from federation_hub.aggregation.layout import read_layout
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.evaluations.tables import Task
from federation_hub.masking.service import takes_updates
from federation_hub.neighbours.service import refusal_of as refusal_of_exchange
from federation_hub.services import Services
from federation_hub.silos.tables import Cohort
from federation_hub.storage.blobs import BlobStore
from federation_hub.stored import read_stored
from federation_hub.studies.rules import ROUND_TAKES_UPDATES, UPDATE
from federation_hub.studies.service import move_round, plan_of
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from pipelines.masking.sums import masked_size
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.compression import Known, agreed, at_level, loses_more
from silo_node.wire.course import Buffered
from silo_node.wire.envelope import BadEnvelope, Envelope
from silo_node.wire.errors import IntegrityError, WireError
from silo_node.wire.studies import RoundReport, StudyPlan
from silo_node.wire.tasks import ResultAnswer
from silo_node.wire.transfers import BlobReference


@dataclass(frozen=True, slots=True)
class Finding:
    """What an examination of an update file found: a refusal's code, or its norm."""

    update: str
    base: str
    code: str | None
    norm: float | None


@dataclass(frozen=True, slots=True)
class Question:
    """What a report has to answer, as the hub knows it."""

    task_id: str
    study_id: str
    silo_id: str
    round: int
    validate_only: bool
    plan_digest: str
    base: str
    cohort: str
    metric: str
    level: str
    """The compression level the silo was told."""


def refusal_of(report: RoundReport, question: Question) -> str | None:
    """Return the code for which a report is refused before its file matters, or None."""
    same_work = (report.task_id, report.study_id, report.silo_id, report.round, report.plan_digest) == (
        question.task_id,
        question.study_id,
        question.silo_id,
        question.round,
        question.plan_digest,
    )
    if (
        not same_work
        or any(told.metric != question.metric for told in (report.score, report.personal, report.alone) if told)
        or (report.update is not None and question.validate_only)
    ):
        return "report-wrong-task"
    if report.base != question.base:
        return "update-base"
    if report.cohort != question.cohort:
        return "cohort-changed"
    if report.update is None:
        return None if question.validate_only else "update-unsound"
    return _level_refused(report.sent_as, question.level)


def _level_refused(sent_as: str | None, told: str) -> str | None:
    try:
        return "compression-not-agreed" if sent_as is not None and loses_more(sent_as, told) else None
    except WireError as error:
        return error.code


def sent_compression(plan: StudyPlan, sent_as: str | None) -> Known:
    """Return how an update was made smaller; raises :class:`WireError` ``compression-unknown``."""
    asked = agreed(plan.compression, None)
    return asked if sent_as is None else at_level(asked, sent_as)


def examine(blobs: BlobStore, update: BlobReference, base: str, plan: StudyPlan, sent_as: str | None = None) -> Finding:
    """Read an update file and return what was found; of one masked or sealed for others only what can be judged."""
    try:
        if not blobs.has(update.digest) or blobs.size(update.digest) != update.size:
            raise IntegrityError("update-unsound", "it was not uploaded")
        if plan.decentralised is not None:
            return Finding(update.digest, base, None, None)
        layout = read_layout(blobs.path(base))
        if plan.secure_aggregation is not None:
            values = sum(tensor.values for tensor in layout.tensors)
            if update.size != masked_size(values, plan.secure_aggregation.word_bits):
                raise IntegrityError("update-unsound", "a masked update has another length")
            return Finding(update.digest, base, None, None)
        plain = plain_update(blobs, update.digest, blobs.path(base), sent_compression(plan, sent_as))
        facts = verify_update(plain, layout, norm_bound=plan.norm_bound)
    except (IntegrityError, WireError) as error:
        return Finding(update.digest, base, error.code, None)
    return Finding(update.digest, base, None, facts.norm)


def examine_ahead(services: Services, task_id: str, envelope: Envelope) -> Finding | None:
    """Examine the update a result names, outside of any transaction; None where there is nothing to examine.

    The envelope has not been verified yet: whoever holds the silo's token only makes the hub read that silo's file.
    """
    try:
        report = RoundReport.model_validate_json(envelope.payload_bytes())
    except (BadEnvelope, ValidationError):
        return None
    with services.database.session() as session:
        row = session.scalar(select(StudyUpdate).where(StudyUpdate.task_id == task_id))
        if row is None or report.update is None or not UPDATE.allows(row.state, "receive"):
            return None
        plan = plan_of(session.get_one(Study, row.study_id))
        if not _takes(round_of(session, row), plan) or report.base != _base_of(session, row):
            return None
        move_update(session, row, "receive", Actor("silo", row.silo_id))
    return examine(services.blobs, report.update, report.base, plan, report.sent_as)


def receive_report(
    session: Session,
    services: Services,
    task: Task,
    report: RoundReport,
    envelope: Envelope,
    finding: Finding | None = None,
) -> ResultAnswer:
    """Judge a verified envelope's report and note it; the caller has checked signature and lease.

    An update counts only while its round takes updates; afterwards it is recorded as late and not folded. The weight
    was fixed when the round was opened: the registered cohort's training cases.
    """
    row = session.scalar(select(StudyUpdate).where(StudyUpdate.task_id == task.id))
    if row is None:
        raise WireError("bad-envelope")
    actor = Actor("silo", row.silo_id)
    row.report, row.envelope = report.model_dump(mode="json"), envelope.model_dump(mode="json")
    row.received = now()
    if report.update is not None:
        row.digest, row.size = report.update.digest, report.update.size
    found = round_of(session, row)
    plan = plan_of(session.get_one(Study, row.study_id))
    if not _takes(found, plan) or task.state == "cancelled":
        return _late(session, row, actor)
    if plan.secure_aggregation is not None and not found.validate_only and takes_updates(session, row) is not None:
        return _late(session, row, actor)
    move_update(session, row, "receive", actor)
    is_open = found.state in ROUND_TAKES_UPDATES
    if is_open:
        move_round(session, found, "collect", actor)
    code = refusal_of(report, _question(session, row, found, task)) or refusal_of_exchange(session, report, plan)
    if code is None and report.update is not None:
        if finding is None or (finding.update, finding.base) != (report.update.digest, report.base):
            finding = examine(services.blobs, report.update, report.base, plan, report.sent_as)
        code, row.norm = finding.code, finding.norm
    if code is not None:
        move_update(session, row, "reject", actor, code)
    elif is_open:  # else it waits for the next round of a buffered study, which verifies it
        move_update(session, row, "verify", actor)
    return ResultAnswer(state="accepted" if code is None else "refused", code=code)


def move_update(session: Session, row: StudyUpdate, event: str, actor: Actor, code: str | None = None) -> None:
    """Take an update through one transition and write it to the audit trail; raises ``state-conflict``."""
    before, row.state = row.state, UPDATE.after(row.state, event)
    row.code = code or row.code
    if before != row.state:
        subject = f"{row.study_id}/{row.number}.{row.attempt}/{row.silo_id}"
        record(session, actor, f"update.{event}", subject, before, row.state, code)


def round_of(session: Session, row: StudyUpdate) -> StudyRound:
    """Return the attempt at a round that an update belongs to, locked: it cannot close before the answer is noted."""
    return session.get_one(StudyRound, (row.study_id, row.number, row.attempt), with_for_update=True)


def _takes(found: StudyRound, plan: StudyPlan) -> bool:
    """Tell whether an answer may still count: in an open round, and in a buffered study between two rounds, too."""
    return found.state in ROUND_TAKES_UPDATES or (isinstance(plan.schedule, Buffered) and not found.validate_only)


def _base_of(session: Session, row: StudyUpdate) -> str:
    """Return the global model an update has to start from."""
    started = row.number if row.started is None else row.started
    bases = select(StudyRound.base_digest).where(StudyRound.study_id == row.study_id, StudyRound.number == started)
    return session.scalars(bases.order_by(StudyRound.attempt.desc())).first() or ""


def _late(session: Session, row: StudyUpdate, actor: Actor) -> ResultAnswer:
    if UPDATE.allows(row.state, "late"):
        move_update(session, row, "late", actor, "update-stale")
    return ResultAnswer(state="late", code="update-stale")


def _question(session: Session, row: StudyUpdate, found: StudyRound, task: Task) -> Question:
    study = session.get_one(Study, row.study_id)
    level = task.body.get("level") or plan_of(study).compression.level
    definition = session.get_one(Benchmark, study.benchmark_id).definition
    return Question(
        task_id=row.task_id,
        study_id=study.id,
        silo_id=row.silo_id,
        round=row.number if row.started is None else row.started,
        validate_only=found.validate_only,
        plan_digest=study.plan_digest,
        base=_base_of(session, row),
        cohort=session.get_one(Cohort, row.cohort_id).fingerprint,
        metric=read_stored(BenchmarkDefinition, definition).primary.name,
        level=level,
    )
