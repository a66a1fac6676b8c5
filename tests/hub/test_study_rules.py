"""The rules of studies as pure functions: when a round closes, what a report must say, how scores are averaged."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_hub.states import StateConflict
from federation_hub.studies.reports import Question, refusal_of
from federation_hub.studies.rules import (
    ROUND,
    STUDY,
    UPDATE,
    Outlook,
    Root,
    judge_round,
    mean_score,
    pause_before_retry,
)
from silo_node.wire.studies import RoundReport, SiteScore
from silo_node.wire.transfers import BlobReference

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
QUESTION = Question(
    task_id="task-000000000001",
    study_id="study-00000000001",
    silo_id="silo-000000000001",
    round=3,
    validate_only=False,
    plan_digest="blake3:" + "1" * 64,
    base="blake3:" + "2" * 64,
    cohort="keyed-blake3:" + "3" * 64,
    metric="auroc",
    level="half",
)
REPORT = RoundReport(
    task_id=QUESTION.task_id,
    study_id=QUESTION.study_id,
    silo_id=QUESTION.silo_id,
    round=3,
    plan_digest=QUESTION.plan_digest,
    base=QUESTION.base,
    cohort=QUESTION.cohort,
    update=BlobReference(digest="blake3:" + "4" * 64, size=10),
    score=SiteScore(metric="auroc", value=0.5, cases=10),
    train_seconds=1.0,
)


@pytest.mark.parametrize(
    ("verified", "pending", "quorum", "at", "verdict"),
    [
        (0, 3, 2, NOON, "wait"),
        (2, 1, 2, NOON, "wait"),
        (3, 0, 2, NOON, "close"),
        (2, 0, 2, NOON, "close"),
        (2, 1, 2, LATER, "close"),
        (1, 2, 2, LATER, "abandon"),
        (1, 0, 2, NOON, "abandon"),
        (0, 1, 2, NOON, "abandon"),
        (0, 0, 0, NOON, "close"),
        (0, 2, 0, NOON, "wait"),
        (0, 2, 0, LATER, "close"),
    ],
)
def test_a_round_closes_with_everybody_or_with_a_quorum_at_the_deadline(
    verified: int, pending: int, quorum: int, at: datetime, verdict: str
) -> None:
    """It waits only while somebody may still answer, and not at all once the quorum is out of reach."""
    assert judge_round(Outlook(verified, pending, quorum, LATER), at) == verdict


@pytest.mark.parametrize(
    ("root", "pending", "at", "verdict"),
    [
        ("here", 1, NOON, "wait"),
        ("here", 1, LATER, "close"),
        ("awaited", 1, NOON, "wait"),
        ("awaited", 1, LATER, "abandon"),
        ("gone", 1, NOON, "abandon"),
    ],
)
def test_a_round_is_not_committed_without_the_update_its_rule_trusts(
    root: Root, pending: int, at: datetime, verdict: str
) -> None:
    """Even where the quorum is there; and nobody is kept waiting once that update cannot come any more."""
    assert judge_round(Outlook(2, pending, 2, LATER, root), at) == verdict


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_a_closed_round_always_has_its_quorum(verified: int, pending: int, quorum: int, late: bool) -> None:
    verdict = judge_round(Outlook(verified, pending, quorum, LATER), LATER if late else NOON)
    assert (verdict == "close") <= (verified >= quorum)
    assert (verdict == "wait") <= (not late and pending > 0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"round": 2}, "report-wrong-task"),
        ({"study_id": "study-00000000002"}, "report-wrong-task"),
        ({"plan_digest": "blake3:" + "9" * 64}, "report-wrong-task"),
        ({"score": SiteScore(metric="dice", value=0.5, cases=10)}, "report-wrong-task"),
        ({"base": "blake3:" + "9" * 64}, "update-base"),
        ({"cohort": "keyed-blake3:" + "9" * 64}, "cohort-changed"),
        ({"update": None}, "update-unsound"),
    ],
)
def test_a_report_answers_its_task_exactly(change: dict[str, object], code: str | None) -> None:
    assert refusal_of(REPORT.model_copy(update=change), QUESTION) == code


def test_a_round_that_only_validates_takes_no_update() -> None:
    question = replace(QUESTION, validate_only=True)
    assert refusal_of(REPORT, question) == "report-wrong-task"
    assert refusal_of(REPORT.model_copy(update={"update": None}), question) is None


def test_scores_are_averaged_by_cases_and_by_site() -> None:
    """Three quarters of the cases at a site that scores 0.9 pull the one mean, not the other."""
    mean = mean_score([(0.9, 75), (0.5, 25)])
    assert mean is not None
    assert (mean.by_cases, mean.by_site, mean.sites) == pytest.approx((0.8, 0.7, 2))
    assert mean_score([]) is None
    assert mean_score([(0.5, 0)]) is None


def test_what_has_ended_stays_ended() -> None:
    assert STUDY.final == {"completed", "failed", "stopped"}
    assert ROUND.final == {"abandoned", "revoked"}
    assert UPDATE.final == {"rejected", "folded", "late"}
    with pytest.raises(StateConflict):
        STUDY.after("completed", "resume")
    with pytest.raises(StateConflict):
        UPDATE.after("rejected", "fold")


def test_the_pause_before_a_retry_is_never_longer_than_a_round() -> None:
    assert pause_before_retry(5, 1) == 5
    assert pause_before_retry(3600, 2) == 20
