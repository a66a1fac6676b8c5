"""Work offered to a silo, claimed with a lease, and answered.

A silo asks; nothing is pushed. The hub signs each task, and the silo checks it against the key it pinned at
enrolment and against its own policy before anything runs.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from silo_node.wire.base import Code, Count, Fingerprint, Identifier, Message, Seconds, Timestamp, Title
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.checks import CheckTask
from silo_node.wire.cohorts import AssociationView
from silo_node.wire.envelope import Envelope
from silo_node.wire.models import ModelReference
from silo_node.wire.purposes import Purpose
from silo_node.wire.statistics import StatisticsTask
from silo_node.wire.studies import RoundTask, StudyConsentRequest

TaskState = Literal["offered", "claimed", "running", "reported", "accepted", "refused", "declined", "cancelled"]


class EvaluationTask(Message):
    """Evaluate these models, in this order, on one cohort. The answer is one estimate block for all of them."""

    kind: Literal["evaluation"] = "evaluation"
    evaluation_id: Identifier
    benchmark: BenchmarkReference
    cohort: Fingerprint
    models: Annotated[tuple[ModelReference, ...], Field(min_length=1, max_length=50)]
    attempt: Annotated[int, Field(ge=1, le=10_000)]
    owners: Annotated[tuple[Title, ...], Field(max_length=50)] = ()
    """The organisation each model belongs to, in the order of ``models``; the site's policy may ask."""

    purpose: Purpose = "benchmarking"

    @model_validator(mode="after")
    def _one_owner_a_model(self) -> "EvaluationTask":
        if self.owners and len(self.owners) != len(self.models):
            raise ValueError("not one owner a model")
        return self


class Task(Message):
    """A unit of work for one silo, as the hub signs it."""

    task_id: Identifier
    silo_id: Identifier
    issued: Timestamp
    body: Annotated[EvaluationTask | RoundTask | CheckTask | StatisticsTask, Field(discriminator="kind")]


class ClaimRequest(Message):
    """A silo's question for work."""

    kinds: Annotated[
        tuple[Literal["evaluation", "round", "check", "statistics"], ...], Field(min_length=1, max_length=4)
    ]


class ClaimAnswer(Message):
    """A task under lease, or none, and how long to wait before asking again.

    ``consents`` are studies waiting for this silo's yes or no.
    """

    task: Envelope | None
    lease_seconds: Seconds
    wait_seconds: Seconds
    consents: tuple[StudyConsentRequest, ...] = ()


class Heartbeat(Message):
    """A sign of life that extends the lease: how far the work has come, in steps of the silo's own."""

    state: Literal["running", "held"]
    done: Count
    total: Count


class HeartbeatAnswer(Message):
    """How long the lease is good for now, and whether the work is still wanted."""

    lease_seconds: Seconds
    cancelled: bool


class Decline(Message):
    """A silo's coded no: its policy refuses the task, or it cannot do it. ``retry`` asks for another lease later."""

    code: Code
    retry: bool = False


class ResultAnswer(Message):
    """What became of a report: accepted, or refused for a coded reason."""

    state: Literal["accepted", "refused", "late"]
    code: Code | None = None


class SiloAssociations(Message):
    """Everything that was asked of the silo, or by it."""

    associations: tuple[AssociationView, ...]
    next: str | None = None
    """The cursor of the next page, where there is one."""
