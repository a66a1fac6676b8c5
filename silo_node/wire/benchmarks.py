"""A benchmark: a versioned question that every site answers in the same way."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from silo_node.wire.base import Digest, Label, Message, Name, Title
from silo_node.wire.consistency import inconsistencies
from silo_node.wire.phases import PhaseSpec, SubmissionLimits

TaskKind = Literal["classification", "segmentation"]
Direction = Literal["higher", "lower"]
Provenance = Literal["synthetic", "simulated-sites", "clinical"]
"""``synthetic``: no patient behind it; ``simulated-sites``: real cases, hospitals made by splitting; ``clinical``."""

METRICS: dict[str, tuple[TaskKind, Direction]] = {
    "auroc": ("classification", "higher"),
    "auprc": ("classification", "higher"),
    "balanced_accuracy": ("classification", "higher"),
    "brier": ("classification", "lower"),
    "ece": ("classification", "lower"),
    "dice": ("segmentation", "higher"),
    "nsd": ("segmentation", "higher"),
    "hd95": ("segmentation", "lower"),
}
"""Every metric the kit computes, with the task it belongs to and the direction in which it is better."""


class TransformSpec(Message):
    """One deterministic MONAI transform by its class name, with literal arguments only."""

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{2,59}$")]
    args: dict[str, JsonValue] = {}


class InputSpec(Message):
    """The prepared case every model of the benchmark receives: ``channels`` then ``shape`` voxels, float32."""

    channels: Annotated[int, Field(ge=1, le=16)]
    shape: Annotated[tuple[Annotated[int, Field(ge=4, le=4096)], ...], Field(min_length=2, max_length=3)]


class MetricSpec(Message):
    """A metric the benchmark reports. Exactly one is primary: models are ranked by it."""

    name: Name
    primary: bool = False
    floor: float | None = None
    tolerance_mm: Annotated[float, Field(gt=0, le=100)] | None = None
    cap_mm: Annotated[float, Field(gt=0, le=1000)] | None = None

    @property
    def direction(self) -> Direction:
        return METRICS[self.name][1]


class DisclosureLimits(Message):
    """What may be told about few patients. A site's own policy may only be stricter."""

    minimum_class: Annotated[int, Field(ge=5, le=10_000)] = 20
    minimum_cell: Annotated[int, Field(ge=5, le=1_000)] = 10
    minimum_sites: Annotated[int, Field(ge=1, le=100)] = 3
    decimals: Annotated[int, Field(ge=2, le=6)] = 4


class SplitSpec(Message):
    """How patients are divided where the cohort's table does not say: shares of patients, by keyed patient hash."""

    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    test: Annotated[float, Field(ge=0, le=1)] = 0.3


def _empty(value: object) -> bool:
    """Leave a field out of the canonical bytes where it says nothing, so that older definitions keep their digest."""
    return not value


class BenchmarkDefinition(Message):
    """The published, immutable definition of one benchmark version. Its digest names it for ever."""

    name: Name
    version: Annotated[int, Field(ge=1, le=9999)]
    title: Title
    summary: Annotated[str, Field(min_length=1, max_length=2000)]
    task: TaskKind
    modality: Annotated[str, Field(pattern=r"^[A-Z]{2,4}$", description="DICOM Modality (0008,0060), e.g. DX, MR.")]
    provenance: Provenance
    data_source: Title
    licence: Title
    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=20)]
    """Classification: the classes in order, the first negative. Segmentation: background, then the structures."""

    input: InputSpec
    preparation: Annotated[tuple[TransformSpec, ...], Field(max_length=20)]
    split: SplitSpec = SplitSpec()
    metrics: Annotated[tuple[MetricSpec, ...], Field(min_length=1, max_length=8)]
    thresholds: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(max_length=3)] = ()
    failure_dice: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(max_length=3)] = ()
    subgroups: Annotated[tuple[Name, ...], Field(max_length=4)] = ()
    """Acquisition or patient attributes by which results are also reported: ``sex``, ``age_band``, ``maker``."""

    disclosure: DisclosureLimits = DisclosureLimits()
    auto_approve_models: bool = False
    auto_approve_cohorts: bool = False
    approve_models_of: Annotated[tuple[Title, ...], Field(max_length=200, exclude_if=_empty)] = ()
    """Organisations whose models are approved by rule."""

    approve_cohorts_of: Annotated[tuple[Title, ...], Field(max_length=200, exclude_if=_empty)] = ()
    """Organisations whose cohorts are approved by rule."""

    submissions: Annotated[SubmissionLimits | None, Field(exclude_if=_empty)] = None
    """Limits over all phases together."""

    phases: Annotated[tuple[PhaseSpec, ...], Field(max_length=20, exclude_if=_empty)] = ()
    """When models are taken; always, where there are none."""

    @model_validator(mode="after")
    def _consistent(self) -> "BenchmarkDefinition":
        faults = inconsistencies(self.model_dump(mode="json"), METRICS)
        if faults:
            raise PydanticCustomError(faults[0].code, "{words}", {"words": faults[0].words})
        return self

    @property
    def primary(self) -> MetricSpec:
        return next(metric for metric in self.metrics if metric.primary)


class BenchmarkReference(Message):
    """Which benchmark version, and the digest of its definition so that nobody can change it quietly."""

    name: Name
    version: Annotated[int, Field(ge=1, le=9999)]
    digest: Digest
