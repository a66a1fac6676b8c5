"""What people see of models."""

from datetime import datetime
from typing import Any

from federation_hub.paging import PageQuery
from silo_node.wire.base import Code, Digest, Identifier, Message, Name
from silo_node.wire.cohorts import AssociationState
from silo_node.wire.models import ModelCard, ModelState, Visibility


class ModelPlace(Message):
    """Where a model stands with a benchmark."""

    benchmark: Name
    benchmark_version: int
    association_id: Identifier
    state: AssociationState
    attempt: int | None = None
    """The organisation's how manieth model on this benchmark version; a study's model is no attempt."""

    phase: Name | None = None
    visibility: Visibility = "public"
    embargo_until: datetime | None = None


class ModelRecord(Message):
    """A model. ``code`` says why it was rejected; ``lineage`` how a study made it; ``version_of`` what came before."""

    digest: Digest
    size: int
    state: ModelState
    code: Code | None
    card: ModelCard
    summary: dict[str, Any] | None
    lineage: dict[str, Any] | None
    version: int
    version_of: Digest | None
    organisation: str
    benchmarks: tuple[ModelPlace, ...]
    created: datetime


class ModelList(Message):
    """Models a person may see: their own, and every accepted one."""

    models: tuple[ModelRecord, ...]
    next: str | None = None


class OfBenchmark(PageQuery):
    """Which page of a list, narrowed to one benchmark, all versions."""

    benchmark: Name | None = None
