"""The steps of a round. Each may run again after a crash at any line, and changes nothing the second time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM
from federation_hub.accounts.audit import record
from federation_hub.aggregation.decoding import forget_plain, plain_update
from federation_hub.aggregation.fold import FoldedModel, Update, fold, moment_path
from federation_hub.aggregation.optimisers import CONTROL
from federation_hub.associations.tables import Association
from federation_hub.db import now
from federation_hub.evaluations.tables import Task
from federation_hub.evaluations.tasks import offer
from federation_hub.masking import folding, stages
from federation_hub.models.tables import Model
from federation_hub.neighbours.service import shown_to
from federation_hub.services import Services
from federation_hub.silos.tables import Cohort, Silo
from federation_hub.studies.buffer import carry_over, close_buffer, standing_rounds
from federation_hub.studies.judging import judge_base, last_round
from federation_hub.studies.marking import mark_updates
from federation_hub.studies.private import begin_fold, end_fold
from federation_hub.studies.reports import move_update, sent_compression
from federation_hub.studies.rules import ROUND, ROUND_TAKES_UPDATES, Outlook, Verdict, base_round, judge_round
from federation_hub.studies.service import abandon, cancel_tasks, move_round, plan_of, updates_of
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from pipelines.bundles import read_bundle, weights_file
from silo_node.wire.compression import agreed
from silo_node.wire.course import KEPT_MODELS, Buffered, discount, is_scored
from silo_node.wire.errors import IntegrityError
from silo_node.wire.strategies import FLTrust
from silo_node.wire.studies import RoundTask
from silo_node.wire.transfers import BlobReference

_WORKING = ("offered", "claimed", "running", "reported")


@dataclass(frozen=True, slots=True)
class RoundKey:
    """One attempt at one round of a study."""

    study_id: str
    number: int
    attempt: int


def first_global_model(services: Services, study_id: str) -> None:
    """Take the starting model's weights out of its bundle as the first global model."""
    with services.database.reading() as session:
        study = session.get_one(Study, study_id)
    if study.weights_digest is not None:
        return
    path = services.blobs.scratch / f"{study_id}.start"
    weights_file(read_bundle(services.blobs.path(study.model_digest)), path)
    digest = services.blobs.put_file(path)
    with services.database.session() as session:
        session.get_one(Study, study_id).weights_digest = digest


def open_round(services: Services, key: RoundKey, *, validate_only: bool) -> None:
    """Open a round and offer it to every silo that agreed, is active and has cases to train on."""
    with services.database.session() as session:
        if find_round(session, key) is not None:
            return
        study = session.get_one(Study, key.study_id)
        plan = plan_of(study)
        assert study.weights_digest is not None
        found = StudyRound(
            study_id=key.study_id,
            number=key.number,
            attempt=key.attempt,
            state="open",
            validate_only=validate_only,
            base_digest=study.weights_digest,
            base_round=last_round(session, study.id),
            deadline=now() + timedelta(seconds=plan.deadline_seconds),
        )
        session.add(found)
        session.flush()
        record(session, SYSTEM, "round.open", f"{key.study_id}/{key.number}.{key.attempt}", None, "open")
        taken = carry_over(session, found, plan)
        stood = standing_rounds(session, study.id)
        control = (study.moments or {}).get(CONTROL)
        evaluate = validate_only or is_scored(plan.evaluation, plan.rounds, base_round(found))
        levels = _levels(session, study.id)
        for cohort in _cohorts(session, study):
            if cohort.silo_id in taken:
                continue
            task = RoundTask(
                study_id=study.id,
                plan=plan,
                plan_digest=study.plan_digest,
                round=key.number,
                validate_only=validate_only,
                cohort=cohort.fingerprint,
                weights=_reference(services, study.weights_digest),
                evaluate=evaluate,
                control=_reference(services, control) if control is not None else None,
                level=agreed(plan.compression, levels.get(cohort.silo_id)).level,
                standing=stood.get(cohort.silo_id, 0),
                neighbours=shown_to(session, study, plan.decentralised, cohort.silo_id, key.number)
                if plan.decentralised
                else (),
                best=study.best_round or 0,
            )
            _expect(session, found, cohort, offer(session, silo_id=cohort.silo_id, body=task))
        if plan.secure_aggregation is not None and not validate_only:
            silo_ids = [row.silo_id for row in updates_of(session, found)]
            stages.open_groups(session, found, plan, silo_ids)


def outlook(session: Session, found: StudyRound) -> Outlook:
    """Return where a round stands. A silo that declined, was suspended or took its consent back is not waited for."""
    plan = plan_of(session.get_one(Study, found.study_id))
    rows = session.execute(
        select(StudyUpdate.state, Task.state, Silo.state, Silo.id)
        .join(Task, Task.id == StudyUpdate.task_id)
        .join(Silo, Silo.id == StudyUpdate.silo_id)
        .where(StudyUpdate.study_id == found.study_id)
        .where(StudyUpdate.number == found.number, StudyUpdate.attempt == found.attempt)
    ).all()
    verified = {silo_id for update, _, _, silo_id in rows if update == "verified"}
    pending = {
        silo_id
        for update, task, silo, silo_id in rows
        if update in ("expected", "receiving") and task in _WORKING and silo == "active"
    }
    trusted = plan.robust.root if isinstance(plan.robust, FLTrust) and not found.validate_only else None
    return Outlook(
        verified=len(verified),
        pending=len(pending),
        quorum=0 if found.validate_only else plan.quorum,
        deadline=found.deadline,
        root="here" if trusted is None or trusted in verified else "awaited" if trusted in pending else "gone",
        buffered=isinstance(plan.schedule, Buffered) and not found.validate_only,
    )


def settle(services: Services, key: RoundKey) -> Verdict:
    """Look whether an open round can be closed, and close or abandon it if so."""
    with services.database.reading() as session:
        found = one_round(session, key)
        if found.state not in ROUND_TAKES_UPDATES:
            return _settled(found)
        if _nothing_due(session, found):
            return "wait"
    with services.database.session() as session:
        found = one_round(session, key, lock=True)
        if found.state not in ROUND_TAKES_UPDATES:
            return _settled(found)
        verdict = _due(session, found)
        if verdict == "wait":
            return verdict
        _close(session, found, verdict)
        if verdict == "close":
            judge_base(session, found)
        return _settled(found)


def fold_round(services: Services, key: RoundKey) -> FoldedModel:
    """Fold the verified updates of a closed round into the next global model and store it, with its moments.

    The study's own row still names the last round's moments, so a fold that runs again starts from the same. Without
    an aggregator there is nothing to fold, and the common first model stays what it is.
    """
    with services.database.reading() as session:
        found = one_round(session, key)
        study = session.get_one(Study, key.study_id)
        plan = plan_of(study)
        if plan.decentralised is not None:
            return FoldedModel(found.base_digest, services.blobs.size(found.base_digest))
        moments = {name: services.blobs.path(digest) for name, digest in (study.moments or {}).items()}
        population = sum(cohort.training_cases for cohort in _registered(session, study))
        base = services.blobs.path(found.base_digest)
        rows = updates_of(session, found)
        sums = folding.sums_of(session, found, rows) if plan.secure_aggregation is not None else []
    updates = [
        Update(
            row.silo_id,
            plain_update(services.blobs, row.digest, base, sent_compression(plan, (row.report or {}).get("sent_as"))),
            row.weight,
            discount(plan.schedule, row.number - (row.started or row.number)),
            plan.local.steps(row.weight),
        )
        for row in rows
        if row.state == "verified" and row.digest is not None
    ]
    mark_updates(services, found, plan, updates)
    path = services.blobs.scratch / f"{key.study_id}.{key.number}.{key.attempt}"
    if plan.secure_aggregation is not None:
        updates = folding.write_means(services.blobs, sums, plan, base, path)
    private = begin_fold(services, key.study_id)
    folded = fold(
        base,
        updates,
        path,
        strategy=plan.strategy,
        robust=plan.robust,
        moments=moments,
        population=population,
        rate=plan.local.learning_rate,
        private=private,
    )
    end_fold(services, key.study_id, private)
    services.blobs.adopt(path, folded.digest)
    for name, digest in folded.moments.items():
        services.blobs.adopt(moment_path(path, name), digest)
    for mean in updates if plan.secure_aggregation is not None else ():
        mean.path.unlink()
    return folded


def fold_or_void(services: Services, key: RoundKey) -> FoldedModel | None:
    """Fold a round; one whose masked sum would not be exact is abandoned, and there is no model."""
    try:
        return fold_round(services, key)
    except IntegrityError as error:
        if error.code not in folding.VOID:
            raise
        with services.database.session() as session:
            found = one_round(session, key, lock=True)
            if ROUND.allows(found.state, "abandon"):
                abandon(session, found, error.code)
                stages.forget(session, found)
        return None


def commit_round(
    services: Services, key: RoundKey, weights_digest: str, moments: Mapping[str, str] | None = None
) -> bool:
    """Make a folded model the study's global model; False where the round was abandoned meanwhile.

    Updates, round and study change in one transaction, so an update is folded into the study exactly once, and the
    optimiser's moments always belong to the global model beside them.
    """
    with services.database.session() as session:
        found = one_round(session, key, lock=True)
        if ROUND.allows(found.state, "commit"):
            for row in updates_of(session, found):
                if row.state == "verified":
                    move_update(session, row, "fold", SYSTEM)
            move_round(session, found, "commit")
            study = session.get_one(Study, key.study_id)
            found.finished = now()
            found.weights_digest = study.weights_digest = weights_digest
            found.moments = study.moments = dict(moments) if moments else None
            stages.forget(session, found)
        committed = found.state == "committed"
    sweep(services, key)
    return committed


def commit_validation(services: Services, key: RoundKey) -> None:
    """Finish a round that only validated."""
    with services.database.session() as session:
        found = one_round(session, key, lock=True)
        if ROUND.allows(found.state, "commit"):
            move_round(session, found, "commit")
            found.finished = now()
    sweep(services, key)


def sweep(services: Services, key: RoundKey) -> None:
    """Delete what a round and the one before leave behind: answered updates, and global models of long ago.

    Runs between two rounds, when no silo of the study is sending: a silo may send the same bytes again next round.
    """
    with services.database.reading() as session:
        spent = _spent(session, key)
        unused = spent - _in_use(session, spent) - _wanted(session, key)
    for digest in unused:
        services.blobs.delete(digest)
        forget_plain(services.blobs, digest)


def was_vetoed(session: Session, study_id: str) -> bool:
    """Tell whether the last attempt ended with a roll-back, after which nobody has to be waited for."""
    rows = select(StudyRound.code).where(StudyRound.study_id == study_id)
    return session.scalars(rows.order_by(StudyRound.number.desc(), StudyRound.attempt.desc())).first() == "model-vetoed"


def last_code(services: Services, study_id: str, number: int) -> str:
    """Return why the last attempt at a round was abandoned."""
    with services.database.reading() as session:
        rows = select(StudyRound.code).where(StudyRound.study_id == study_id, StudyRound.number == number)
        return session.scalars(rows.order_by(StudyRound.attempt.desc())).first() or "quorum-missed"


def find_round(session: Session, key: RoundKey) -> StudyRound | None:
    """Return an attempt at a round, or None before it was opened."""
    return session.get(StudyRound, (key.study_id, key.number, key.attempt))


def one_round(session: Session, key: RoundKey, *, lock: bool = False) -> StudyRound:
    """Return an attempt at a round that was opened; with ``lock``, nobody else changes it in this transaction."""
    return session.get_one(StudyRound, (key.study_id, key.number, key.attempt), with_for_update=lock)


def _settled(found: StudyRound) -> Verdict:
    if found.state != "abandoned":
        return "close"
    return "stop" if found.code == "stop-rule-met" else "abandon"


def _cohorts(session: Session, study: Study) -> Sequence[Cohort]:
    """Return the newest registered cohort of each silo that takes part, by silo id."""
    agreed = select(Association.silo_id).where(Association.study_id == study.id, Association.state == "approved")
    taking_part = set(session.scalars(agreed.join(Silo, Silo.id == Association.silo_id).where(Silo.state == "active")))
    return [cohort for cohort in _registered(session, study) if cohort.silo_id in taking_part]


def _levels(session: Session, study_id: str) -> dict[str, list[Any] | None]:
    """Return the compression levels each silo of a study offers."""
    rows = select(Association.silo_id, Association.levels).where(Association.study_id == study_id)
    return {silo_id: levels for silo_id, levels in session.execute(rows) if silo_id is not None}


def _registered(session: Session, study: Study) -> Sequence[Cohort]:
    """Return the newest registered cohort of each silo that was asked, by silo id, whether it takes part or not."""
    asked = select(Association.silo_id).where(Association.study_id == study.id)
    rows = session.scalars(
        select(Cohort)
        .where(Cohort.silo_id.in_(asked), Cohort.benchmark_id == study.benchmark_id)
        .where(Cohort.state == "registered", Cohort.training_cases > 0)
        .order_by(Cohort.silo_id, Cohort.created)
    )
    return list({cohort.silo_id: cohort for cohort in rows}.values())


def _reference(services: Services, digest: str) -> BlobReference:
    return BlobReference(digest=digest, size=services.blobs.size(digest))


def _expect(session: Session, found: StudyRound, cohort: Cohort, task_id: str) -> None:
    session.add(
        StudyUpdate(
            study_id=found.study_id,
            number=found.number,
            attempt=found.attempt,
            silo_id=cohort.silo_id,
            task_id=task_id,
            cohort_id=cohort.id,
            started=found.number,
            weight=cohort.training_cases,
            state="expected",
        )
    )


def _nothing_due(session: Session, found: StudyRound) -> bool:
    plan = plan_of(session.get_one(Study, found.study_id))
    if plan.secure_aggregation is None or found.validate_only:
        return judge_round(outlook(session, found), now()) == "wait"
    turns, verdict = stages.judge(session, found, plan)
    return verdict == "wait" and all(turn == "wait" for _, turn in turns)


def _due(session: Session, found: StudyRound) -> Verdict:
    """Return what becomes of a round; a masked one first goes as far as its stages can."""
    plan = plan_of(session.get_one(Study, found.study_id))
    if plan.secure_aggregation is None or found.validate_only or found.state not in ROUND_TAKES_UPDATES:
        return judge_round(outlook(session, found), now())
    return stages.advance(session, found, plan)


def _close(session: Session, found: StudyRound, verdict: Verdict) -> None:
    summed = _summed(session, found)
    for row in updates_of(session, found):
        if summed is not None and row.state == "verified" and row.silo_id not in summed:
            move_update(session, row, "late", SYSTEM, "masking-void")
        task = session.get_one(Task, row.task_id)
        if row.state == "expected" and task.state in ("declined", "cancelled", "refused"):
            move_update(session, row, "reject", SYSTEM, task.code)
    found.closed = now()
    if isinstance(plan_of(session.get_one(Study, found.study_id)).schedule, Buffered) and not found.validate_only:
        close_buffer(session, found, verdict)
    elif verdict == "close":
        move_round(session, found, "close")
        cancel_tasks(session, found, "update-stale")
    else:
        abandon(session, found, "quorum-missed")
        stages.forget(session, found)


def _summed(session: Session, found: StudyRound) -> set[str] | None:
    """Return the silos whose masked updates are in sums that were opened; None in a round without masks."""
    if not stages.groups_in(session, found):
        return None
    return {site.silo_id for sites in stages.counted(session, found).values() for site in sites}


def _spent(session: Session, key: RoundKey) -> set[str]:
    late = key.number - 1
    plan = plan_of(session.get_one(Study, key.study_id))
    answered = (late, key.number) if plan.decentralised is None else (late,)  # neighbours are yet to fetch the newest
    updates = select(StudyUpdate.digest).where(StudyUpdate.study_id == key.study_id)
    oldest = key.number - KEPT_MODELS
    old = (StudyRound.study_id == key.study_id, StudyRound.number.between(oldest - 2 * KEPT_MODELS, oldest))
    digests = [
        *session.scalars(updates.where(StudyUpdate.number.in_(answered))),
        *session.scalars(select(StudyRound.weights_digest).where(*old)),
        *_named(session.scalars(select(StudyRound.moments).where(*old))),
    ]
    return {digest for digest in digests if digest is not None}


def _in_use(session: Session, digests: set[str]) -> set[str]:
    """Return which of these blobs something else needs: equal bytes have one address, whatever they are for."""
    unfinished = select(StudyUpdate.digest).join(StudyRound).where(StudyRound.state.not_in(("committed", "abandoned")))
    bases = select(StudyRound.base_digest).where(StudyRound.state.not_in(("committed", "abandoned")))
    needed = [
        *session.scalars(select(Model.digest).where(Model.digest.in_(digests))),
        *session.scalars(select(Study.weights_digest).where(Study.weights_digest.in_(digests))),
        *session.scalars(select(Study.best_digest).where(Study.best_digest.in_(digests))),
        *session.scalars(unfinished.where(StudyUpdate.digest.in_(digests))),
        *session.scalars(bases.where(StudyRound.base_digest.in_(digests))),
        *_named(session.scalars(select(Study.moments).where(Study.moments.is_not(None)))),
    ]
    return {digest for digest in needed if digest is not None}


def _wanted(session: Session, key: RoundKey) -> set[str]:
    """Return what a roll-back may go back to: the models the last rounds started from, and their moments."""
    recent = (StudyRound.study_id == key.study_id, StudyRound.number > key.number - KEPT_MODELS + 1)
    made = select(StudyRound.base_round).where(*recent)
    moments = select(StudyRound.moments).where(StudyRound.study_id == key.study_id, StudyRound.number.in_(made))
    return {*session.scalars(select(StudyRound.base_digest).where(*recent)), *_named(session.scalars(moments))}


def _named(moments: Iterable[dict[str, Any] | None]) -> list[str]:
    return [digest for found in moments for digest in (found or {}).values()]
