"""What a closed round's reports mean for the study: its base model's score, the best model so far, a roll-back."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.stored import read_stored
from federation_hub.studies.course import Judgement, Scored, Told, best_of, judge
from federation_hub.studies.rules import base_round
from federation_hub.studies.service import abandon, move_round, plan_of, updates_of
from federation_hub.studies.tables import Study, StudyRound
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.studies import RoundReport, StudyPlan, judged


def judge_base(session: Session, found: StudyRound) -> Judgement:
    """Judge the model a closed round started from; after a roll-back, as at a stop, the round folds nothing.

    Runs in the transaction that closes the round, so it happens exactly once.
    """
    study = session.get_one(Study, found.study_id)
    plan, made = plan_of(study), base_round(found)
    told = told_of(session, found, plan)
    if not any(site.value is not None or site.verdict is not None for site in told):
        return Judgement("close", None)
    higher = higher_is_better(session, study)
    judgement = judge(plan, made, told, standing(session, study.id), higher=higher)
    found.base_score = judgement.score
    found.verdict = "vetoed" if judgement.outcome == "roll-back" else "accepted"
    session.flush()
    if judgement.outcome == "roll-back":
        _roll_back(session, study, found, judgement.restore)
        abandon(session, found, "model-vetoed")
    elif judgement.outcome == "stop" and not found.validate_only:
        abandon(session, found, "stop-rule-met")
    _note_best(session, study, higher=higher)
    return judgement


def told_of(session: Session, found: StudyRound, plan: StudyPlan) -> list[Told]:
    """Return what sites whose updates were verified told of a round's base; not what they told of older models."""
    told = []
    for row in updates_of(session, found):
        if row.state in ("verified", "folded") and row.report is not None and row.started in (None, found.number):
            report = read_stored(RoundReport, row.report)
            score = judged(plan, report.score, report.personal)
            told.append(Told(score.value, score.cases, report.verdict))
    return told


def standing(session: Session, study_id: str) -> list[Scored]:
    """Return the scored models that were not revoked, in the order of the rounds that made them."""
    rows = session.scalars(
        select(StudyRound)
        .where(StudyRound.study_id == study_id, StudyRound.verdict == "accepted")
        .order_by(StudyRound.number, StudyRound.attempt)
    ).all()
    revoked = set(_numbers(session, study_id, "revoked")) - set(_numbers(session, study_id, "committed"))
    found = {base_round(row): Scored(base_round(row), row.base_score) for row in rows if base_round(row) not in revoked}
    return [found[made] for made in sorted(found)]


def last_round(session: Session, study_id: str) -> int:
    """Return the round that made the present global model; 0 for the starting model."""
    return max(_numbers(session, study_id, "committed"), default=0)


def higher_is_better(session: Session, study: Study) -> bool:
    """Tell in which direction the study's metric is better."""
    definition = session.get_one(Benchmark, study.benchmark_id).definition
    return read_stored(BenchmarkDefinition, definition).primary.direction == "higher"


def _numbers(session: Session, study_id: str, state: str) -> list[int]:
    rows = select(StudyRound.number).where(StudyRound.study_id == study_id, StudyRound.state == state)
    return list(session.scalars(rows.where(StudyRound.validate_only.is_(False))))


def _roll_back(session: Session, study: Study, found: StudyRound, made: int) -> None:
    """Make the model of round ``made`` the global model again, with the moments that belong to it."""
    rounds = session.scalars(
        select(StudyRound).where(StudyRound.study_id == study.id).order_by(StudyRound.number, StudyRound.attempt)
    ).all()
    study.weights_digest, study.moments = rounds[0].base_digest, None
    for row in rounds:
        if row.state == "committed" and row.number == made:
            study.weights_digest, study.moments = row.weights_digest, row.moments
        elif row.state == "committed" and made < row.number < found.number:
            move_round(session, row, "revoke", code="model-vetoed")


def _note_best(session: Session, study: Study, *, higher: bool) -> None:
    best = best_of(standing(session, study.id), higher=higher)
    study.best_round = best.made if best else None
    study.best_digest = _model_of(session, study.id, best.made) if best else None


def _model_of(session: Session, study_id: str, made: int) -> str | None:
    rows = select(StudyRound.weights_digest).where(StudyRound.study_id == study_id, StudyRound.number == made)
    return session.scalar(rows.where(StudyRound.state == "committed"))
