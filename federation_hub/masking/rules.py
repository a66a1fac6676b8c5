"""When a group's stage is over, as a pure function."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from silo_node.wire.masking import SecureAggregation, Stage, least_survivors, threshold_of

FINAL = frozenset({"opened", "void"})
NEXT: dict[str, Stage] = {
    "advertising": "sharing",
    "sharing": "masking",
    "masking": "confirming",
    "confirming": "opening",
    "opening": "opened",
}
_NOBODY_IS_AWAITED = frozenset({"confirming", "opening"})
"""Stages that are over as soon as enough have answered: more answers would change nothing."""

Turn = Literal["wait", "next", "void"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A group's stage: who has answered, who may still, and how many answers there must be."""

    stage: str
    answered: int
    awaited: int
    needed: int
    deadline: datetime


def judge_stage(standing: Standing, at: datetime) -> Turn:
    """Decide what becomes of a stage: it waits for everybody who may still answer, and is void without enough."""
    enough = standing.answered >= standing.needed
    if standing.answered + standing.awaited < standing.needed:
        return "void"
    if enough and standing.stage in _NOBODY_IS_AWAITED:
        return "next"
    if standing.awaited and at < standing.deadline:
        return "wait"
    return "next" if enough else "void"


def answers_needed(stage: str, masking: SecureAggregation, size: int) -> int:
    """Return how many silos of a group of this size must answer in a stage."""
    if stage in _NOBODY_IS_AWAITED:
        return threshold_of(masking, size)
    return least_survivors(masking, size)
