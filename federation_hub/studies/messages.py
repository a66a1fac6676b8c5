"""What people see of studies."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from federation_hub.paging import MOST, PageQuery
from silo_node.wire.base import Code, Digest, Identifier, Message, Name
from silo_node.wire.cohorts import AssociationState
from silo_node.wire.course import Verdict
from silo_node.wire.studies import RoundState, StudyPlan, StudyState, UpdateState


class ScoreView(Message):
    """The benchmark's primary metric of one global model on the sites' validation cases.

    A guide for whoever runs the study, without uncertainty; the leaderboard judges the final model on test cases.
    """

    metric: Name
    by_cases: float
    """Mean over sites weighted by their validation cases."""

    by_site: float
    """Mean in which every site counts the same."""

    sites: int


class UpdateView(Message):
    """What one silo was asked in a round and what came of it; ``code`` says why it was rejected."""

    silo_id: Identifier
    silo: str
    state: UpdateState
    code: Code | None
    done: int
    total: int
    """Progress of the silo's work in steps of its own choice, from its heartbeats."""

    norm: float | None
    """L2 norm of the update, once verified."""

    mark: Code | None
    """Why it stands out among the round's updates although it counted: it need not have been trained for."""

    size: int | None
    sent_as: Name | None
    """The compression level its file had; None before it came, and from a silo that does not negotiate."""

    score: float | None
    """The metric of the round's incoming global model on this site's validation cases."""

    score_reason: Code | None
    personal: float | None
    """The same of the site's own model, where the plan has one."""

    alone: float | None
    """The same of the model that saw this site only, where the plan asks for one."""

    verdict: Verdict | None
    """What the site made of the incoming global model, where the plan has a gate."""

    heard: int | None
    """In a study without an aggregator: how many neighbours' models went into this site's own."""

    shown: int | None
    """How many it could open."""

    started: int
    """The round whose global model it started from; an earlier one only in a buffered study."""

    train_seconds: float | None
    received: datetime | None


class RoundView(Message):
    """One attempt at a round. ``score`` is that of the global model it committed, told by the next round's reports."""

    round: int
    attempt: int
    state: RoundState
    code: Code | None
    validate_only: bool
    base_round: int
    """The round that made the model it started from; 0 for the first model."""

    base_score: float | None
    """What that model scored over the sites, as the plan asks for it."""

    base_verdict: Literal["accepted", "vetoed"] | None
    """What the sites made of that model; None where it was not scored."""

    opened: datetime
    deadline: datetime
    closed: datetime | None
    finished: datetime | None
    sites: int
    """Sites whose update was folded, or whose score was taken where the round only validates."""

    score: ScoreView | None
    updates: tuple[UpdateView, ...]


class CurvePoint(Message):
    """What one site scored: the global model after so many rounds, and beside it what it keeps of its own."""

    made: int
    score: float | None
    personal: float | None
    alone: float | None
    verdict: Verdict | None


class SiteCurve(Message):
    """One site's scores over the rounds, as far as the viewer may see them."""

    silo_id: Identifier
    silo: str
    points: tuple[CurvePoint, ...]


class StudySilo(Message):
    """A silo that was asked to take part."""

    silo_id: Identifier
    silo: str
    consent: AssociationState


class RoundsQuery(PageQuery):
    """Which of a study's rounds: they carry an update of each silo, so fewer come at once than of other lists."""

    limit: Annotated[int, Field(ge=1, le=MOST)] = 100


FIRST_ROUNDS = RoundsQuery()


class StudyView(Message):
    """A study with its sites and a page of its rounds."""

    study_id: Identifier
    name: Name
    title: str
    state: StudyState
    code: Code | None
    plan: StudyPlan
    plan_digest: Digest
    organisation: str
    metric: Name
    silos: tuple[StudySilo, ...]
    initial_score: ScoreView | None
    """Of the model the study starts from."""

    rounds: tuple[RoundView, ...]
    """A page of them; the curves hold what these rounds' updates told."""

    next: str | None = None
    committed: int
    """Training rounds that made a new global model."""

    best_round: int | None
    """The round that made the best of the scored models that stand."""

    curves: tuple[SiteCurve, ...]
    final_model: Digest | None
    created: datetime
    started: datetime | None
    finished: datetime | None


class StudySummary(Message):
    """A line in the list of studies."""

    study_id: Identifier
    name: Name
    title: str
    state: StudyState
    code: Code | None
    benchmark: Name
    benchmark_version: int
    organisation: str
    silos: int
    rounds: int
    committed: int
    final_model: Digest | None
    created: datetime
    finished: datetime | None


class StudyList(Message):
    """The studies a person may see, newest first."""

    studies: tuple[StudySummary, ...]
    next: str | None = None
