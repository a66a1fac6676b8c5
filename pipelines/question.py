"""What imaging has to know of a benchmark: a small, tolerant view of its published definition.

The wire's ``BenchmarkDefinition`` is the contract and is validated by the node and the hub. The sandbox receives it as
plain JSON and reads only the fields below, so that a definition with more fields still runs here.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pipelines.errors import PipelineError

TaskKind = Literal["classification", "segmentation"]


class Value(BaseModel):
    """The base of what is declared here: frozen, without unknown fields, NaN or infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class TransformSpec(Value):
    """One deterministic MONAI transform by its class name, with literal arguments only."""

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{2,59}$")]
    args: dict[str, JsonValue] = {}


class InputSpec(Value):
    """The prepared case: ``channels`` then ``shape`` pixels or voxels, float32."""

    channels: Annotated[int, Field(ge=1, le=16)]
    shape: Annotated[tuple[Annotated[int, Field(ge=4, le=4096)], ...], Field(min_length=2, max_length=3)]

    @property
    def dimensions(self) -> int:
        """Number of spatial dimensions, 2 or 3."""
        return len(self.shape)


class MetricView(BaseModel):
    """A metric's name and, for surface distances, the tolerance and the cap in millimetres."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    name: str
    primary: bool = False
    tolerance_mm: float | None = None
    cap_mm: float | None = None


class DisclosureView(BaseModel):
    """The fewest cases of a class a site may report on, the fewest in a cell, and how far values are rounded."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    minimum_class: int = 20
    minimum_cell: int = 10
    decimals: int = 4


class Question(BaseModel):
    """The fields of a benchmark definition that decide preparation, prediction and per-case scores."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)
    name: str
    version: int
    task: TaskKind
    labels: tuple[str, ...]
    input: InputSpec
    preparation: tuple[TransformSpec, ...] = ()
    metrics: tuple[MetricView, ...] = ()
    disclosure: DisclosureView = DisclosureView()

    @property
    def outputs(self) -> int:
        """Number of channels or classes a network must return."""
        return len(self.labels)

    @property
    def structures(self) -> tuple[str, ...]:
        """Labels without the background (segmentation) or the negative class."""
        return self.labels[1:]

    @property
    def primary(self) -> MetricView:
        """The metric models are ranked by."""
        return next(metric for metric in self.metrics if metric.primary)

    def tolerance_mm(self, default: float = 1.0) -> float:
        """Tolerance of the normalised surface Dice in millimetres."""
        return next((m.tolerance_mm for m in self.metrics if m.name == "nsd" and m.tolerance_mm), default)

    def cap_mm(self, default: float = 100.0) -> float:
        """The value HD95 is capped at, in millimetres; also the score of a failed case."""
        return next((m.cap_mm for m in self.metrics if m.name == "hd95" and m.cap_mm), default)


def read_question(definition: dict[str, Any]) -> Question:
    """Read the view of a definition; raises ``benchmark-invalid``."""
    try:
        return Question.model_validate(definition)
    except ValidationError as error:
        raise PipelineError("benchmark-invalid", f"field {first_field(error)}") from None


def first_field(error: ValidationError) -> str:
    """Return the dotted name of the first field a validation refused, without its value."""
    return ".".join(str(part) for part in error.errors(include_input=False, include_url=False)[0]["loc"]) or "(root)"
