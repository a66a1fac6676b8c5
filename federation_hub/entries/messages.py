"""What the owner of a model sees of its entries, and what people decide about them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from federation_hub.evaluations.messages import MatrixCell
from silo_node.wire.base import Code, Digest, Message, Name, Timestamp
from silo_node.wire.cohorts import AssociationState
from silo_node.wire.models import ModelState, Visibility


class EntryResult(Message):
    """What was released of a model, pooled over the hospitals that reported it, beside the benchmark's baselines.

    ``withheld`` until enough hospitals have reported; ``silent`` where the Ladder mechanism tells nothing: then
    ``best`` is the organisation's model that is told of.
    """

    status: Literal["released", "withheld", "awaiting", "silent"]
    code: Code | None
    metric: Name
    label: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    sites: int = 0
    cases: int = 0
    failed: int | None = None
    best: Digest | None = None


class EntrySite(MatrixCell):
    """Where the model stands at one hospital, by the name readers know it under."""

    site: str


class EntryView(Message):
    """An entry with its way through the hospitals, for its owner."""

    benchmark: Name
    benchmark_version: int
    model: Digest
    name: str
    version: int
    state: ModelState
    consent: AssociationState | None
    """None while the model is being checked."""

    attempt: int | None
    phase: Name | None
    visibility: Visibility
    embargo_until: datetime | None
    sites: tuple[EntrySite, ...]
    result: EntryResult
    settled: bool
    """Nothing more will come unless somebody decides something."""


class EntryList(Message):
    """A model's entries on all benchmarks."""

    entries: tuple[EntryView, ...]
    next: str | None = None


class Showing(Message):
    """A private entry is made public: now, or from a date on."""

    embargo_until: Timestamp | None = None


class EntrySettings(Message):
    """What a benchmark's owner sets: the priority where a report cannot hold all models; whether it is a baseline."""

    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    baseline: bool | None = None
