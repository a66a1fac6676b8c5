"""The estimate block: the one thing an evaluation sends, for all its models together.

Estimates with their covariance, counts above the limits, merged histograms; never a per-case value, never a
prediction, never a bootstrap replicate. Vectors over models follow the order of ``models`` in the header.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from silo_node.wire.base import Code, Count, Digest, Fingerprint, Identifier, Label, Message, Name, Seconds, Timestamp
from silo_node.wire.benchmarks import BenchmarkReference, DisclosureLimits

Vector = Annotated[tuple[float, ...], Field(max_length=50)]
Matrix = Annotated[tuple[Vector, ...], Field(max_length=50)]
Counts = Annotated[tuple[Count, ...], Field(max_length=64)]


class MetricEstimate(Message):
    """One metric for all models: ``theta[m]`` and ``cov[m][m]``, or ``undefined`` with a coded reason."""

    metric: Name
    status: Literal["estimated", "undefined"]
    reason: Code | None = None
    theta: Vector = ()
    cov: Matrix = ()

    @model_validator(mode="after")
    def _shape(self) -> "MetricEstimate":
        size = len(self.theta)
        if (self.status == "undefined") != (size == 0) or (self.status == "undefined") != (self.reason is not None):
            raise ValueError("an estimate has values, an undefined one has a reason")
        if len(self.cov) != size or any(len(row) != size for row in self.cov):
            raise ValueError("the covariance is not square over the models")
        return self


class ConfusionCounts(Message):
    """2x2 counts of one model at one threshold; all four absent where any would tell too little or too much."""

    suppressed: bool
    true_positive: Count | None = None
    false_positive: Count | None = None
    false_negative: Count | None = None
    true_negative: Count | None = None


class OperatingPoint(Message):
    """The counts of every model at one threshold the benchmark declares."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
    models: Annotated[tuple[ConfusionCounts, ...], Field(max_length=50)]


class ScoreHistogram(Message):
    """Scores of one model, for curves only. Each class has its own merged bins: right ends in 1/32, and counts."""

    negatives_upper: Counts
    negatives: Counts
    positives_upper: Counts
    positives: Counts


class CalibrationBins(Message):
    """Sums over merged bins of both classes, near to tenths: ``upper`` in 1/32, counts, sums of scores, positives."""

    upper: Counts
    count: Counts
    score_sum: Annotated[tuple[float, ...], Field(max_length=10)]
    positives: Counts


class ClassEstimates(Message):
    """One class against the rest. Curves and points are empty where the class is undefined."""

    label: Label
    positives: Count | None
    negatives: Count | None
    """Absent (None) where a class has fewer cases than the benchmark lets a site tell."""

    metrics: Annotated[tuple[MetricEstimate, ...], Field(max_length=8)]
    operating_points: Annotated[tuple[OperatingPoint, ...], Field(max_length=3)] = ()
    histograms: Annotated[tuple[ScoreHistogram, ...], Field(max_length=50)] = ()
    calibration: Annotated[tuple[CalibrationBins, ...], Field(max_length=50)] = ()


class VolumeAgreement(Message):
    """Sums for bias and limits of agreement (Bland and Altman 1986), d = predicted minus reference in millilitres."""

    count: Count
    sum_d: float
    sum_d2: Annotated[float, Field(ge=0)]


class FailureCount(Message):
    """Cases of each model under a Dice threshold; None where suppressed."""

    below: Annotated[float, Field(gt=0, lt=1)]
    models: Annotated[tuple[Count | None, ...], Field(max_length=50)]


class MetricQuantiles(Message):
    """10, 25, 50, 75 and 90% quantiles of each model, rounded to 0.01; only with 50 cases or more."""

    metric: Name
    models: Annotated[tuple[Annotated[tuple[float, ...], Field(min_length=5, max_length=5)], ...], Field(max_length=50)]


class StructureEstimates(Message):
    """One structure of a segmentation."""

    label: Label
    empty_reference: Count | None
    metrics: Annotated[tuple[MetricEstimate, ...], Field(max_length=8)]
    quantiles: Annotated[tuple[MetricQuantiles, ...], Field(max_length=3)] = ()
    failures: Annotated[tuple[FailureCount, ...], Field(max_length=3)] = ()
    volume: Annotated[tuple[VolumeAgreement, ...], Field(max_length=50)] = ()


class SubgroupEstimates(Message):
    """The same for one level of a declared attribute, or ``suppressed``."""

    attribute: Name
    level: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+-]{0,19}$")]
    status: Literal["estimated", "suppressed"]
    classes: tuple[ClassEstimates, ...] = ()
    structures: tuple[StructureEstimates, ...] = ()


class ResourceUse(Message):
    """Mean and standard deviation of one model's cost a case."""

    seconds_mean: Seconds
    seconds_sd: Seconds
    peak_memory_mb: Annotated[float, Field(ge=0, le=10**7)]


class Software(Message):
    """The versions that computed the block."""

    medsilo: Annotated[str, Field(pattern=r"^[0-9a-z.+-]{1,40}$")]
    monai: Annotated[str, Field(pattern=r"^[0-9a-z.+-]{1,40}$")]
    torch: Annotated[str, Field(pattern=r"^[0-9a-z.+-]{1,40}$")]


class RefusedModel(Message):
    """A model of the task that this site did not run, or does not tell of, and why; the others are served."""

    model: Digest
    code: Code


class EstimateBlock(Message):
    """A silo's signed answer to an evaluation."""

    format: Literal["estimate-block/1"] = "estimate-block/1"
    task_id: Identifier
    evaluation_id: Identifier
    silo_id: Identifier
    benchmark: BenchmarkReference
    cohort: Fingerprint
    models: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=50)]
    refused: Annotated[tuple[RefusedModel, ...], Field(max_length=49)] = ()
    """The task's other models. A site that runs none of them declines the task instead."""
    attempt: Annotated[int, Field(ge=1, le=10_000)]
    software: Software
    started: Timestamp
    finished: Timestamp
    limits: DisclosureLimits
    cases: Count
    patients: Count
    failed: Counts
    classes: Annotated[tuple[ClassEstimates, ...], Field(max_length=21)] = ()
    structures: Annotated[tuple[StructureEstimates, ...], Field(max_length=20)] = ()
    """More than two classes, and structures, begin with the entry ``all``: the mean over them, which is ranked."""
    subgroups: Annotated[tuple[SubgroupEstimates, ...], Field(max_length=64)] = ()
    resources: Annotated[tuple[ResourceUse, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _one_entry_a_model(self) -> "EstimateBlock":
        size = len(self.models)
        parts: list[ClassEstimates | StructureEstimates] = [*self.classes, *self.structures]
        sizes = [len(metric.theta) for part in parts for metric in part.metrics if metric.status == "estimated"]
        if any(found != size for found in [*sizes, len(self.failed), len(self.resources)]):
            raise ValueError("a vector has not one entry a model")
        named = [*self.models, *(refused.model for refused in self.refused)]
        if len(set(named)) != len(named):
            raise ValueError("a model is named twice")
        return self
