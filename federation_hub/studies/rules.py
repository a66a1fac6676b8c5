"""The rules of studies, rounds and updates, as pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from federation_hub.states import Machine

STUDY = Machine(
    "study",
    {
        "recruit": {"draft": "recruiting"},
        "start": {"recruiting": "running"},
        "pause": {"running": "paused"},
        "resume": {"paused": "running"},
        "complete": {"running": "completed", "paused": "completed"},
        "fail": {"running": "failed", "paused": "failed"},
        "stop": {"draft": "stopped", "recruiting": "stopped", "running": "stopped", "paused": "stopped"},
    },
)
ROUND = Machine(
    "round",
    {
        "collect": {"open": "collecting", "collecting": "collecting"},
        "close": {"open": "aggregating", "collecting": "aggregating"},
        "commit": {"aggregating": "committed"},
        "abandon": {"open": "abandoned", "collecting": "abandoned", "aggregating": "abandoned"},
        "revoke": {"committed": "revoked"},
    },
)
UPDATE = Machine(
    "update",
    {
        "receive": {"expected": "receiving", "receiving": "receiving"},
        "verify": {"receiving": "verified"},
        "reject": {"expected": "rejected", "receiving": "rejected"},
        "fold": {"verified": "folded"},
        "late": {"expected": "late", "receiving": "late", "verified": "late"},
    },
)
ROUND_TAKES_UPDATES = frozenset({"open", "collecting"})
ATTEMPTS_A_ROUND = 3
"""A round that misses its quorum is opened again from the same global model; after this many the study fails."""

Root = Literal["here", "awaited", "gone"]
Verdict = Literal["wait", "close", "abandon", "stop"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """Where a round stands: how many updates are verified, how many may still come, and what was agreed."""

    verified: int
    pending: int
    quorum: int
    deadline: datetime
    root: Root = "here"
    """Where the update stands that the rule cannot do without; "here" also where it needs none."""

    buffered: bool = False
    """Whether the round closes as soon as there are as many updates as the quorum."""


def judge_round(outlook: Outlook, at: datetime) -> Verdict:
    """Decide what becomes of an open round: k of n with a deadline.

    It closes at once when nobody is left to wait for, or at the deadline; with fewer verified updates than the quorum
    it is abandoned, and as soon as the quorum can no longer be reached. So it is without the root's update.
    """
    if outlook.verified + outlook.pending < outlook.quorum or outlook.root == "gone":
        return "abandon"
    full = outlook.buffered and outlook.verified >= outlook.quorum
    if outlook.pending and at < outlook.deadline and not full:
        return "wait"
    return "close" if outlook.verified >= outlook.quorum and outlook.root == "here" else "abandon"


def pause_before_retry(deadline_seconds: int, attempt: int) -> float:
    """Return how many seconds to wait before a round is opened again, so that a silo may come back meanwhile."""
    return float(min(deadline_seconds, 10 * attempt))


@dataclass(frozen=True, slots=True)
class MeanScore:
    """A metric of one global model over sites: by training-independent validation cases, and each site alike."""

    by_cases: float
    by_site: float
    cases: int
    sites: int


def mean_score(scores: Sequence[tuple[float, int]]) -> MeanScore | None:
    """Average the sites' ``(value, validation cases)``; None where no site could tell a value."""
    cases = sum(count for _, count in scores)
    if not scores or cases == 0:
        return None
    return MeanScore(
        by_cases=sum(value * count for value, count in scores) / cases,
        by_site=sum(value for value, _ in scores) / len(scores),
        cases=cases,
        sites=len(scores),
    )


class Based(Protocol):
    """A round that knows which model it started from."""

    number: Any
    base_round: Any


def base_round(found: Based) -> int:
    """Return the round that made the model a round starts from; rounds of older releases always follow the last."""
    return int(found.number - 1 if found.base_round is None else found.base_round)


class Begun(Protocol):
    """An answer that knows in which round it was begun, and to which attempt it belongs."""

    number: Any
    attempt: Any
    started: Any


class Attempt(Based, Protocol):
    """One attempt at a round."""

    attempt: Any


def model_of(update: Begun, rounds: Sequence[Attempt]) -> int | None:
    """Return the round that made the model an answer is about; None where its round is not known."""
    began = update.number if update.started is None else update.started
    for found in rounds:
        if found.number == began and (began != update.number or found.attempt == update.attempt):
            return base_round(found)
    return None
