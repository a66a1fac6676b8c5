"""What a benchmark asks, in the form the statistics need; site and hub read it from the same definition."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIRECTIONS: Mapping[str, str] = {
    "auroc": "higher",
    "auprc": "higher",
    "balanced_accuracy": "higher",
    "brier": "lower",
    "ece": "lower",
    "dice": "higher",
    "nsd": "higher",
    "hd95": "lower",
}

OVERALL = "all"
"""The label of the entry that is ranked: the mean over structures, or over the classes of a multi-class benchmark."""

DEFAULT_CAP_MM = 100.0
"""A failed HD95 is scored as this many millimetres where the benchmark declares no cap of its own."""


@dataclass(frozen=True, slots=True)
class MetricRule:
    """A metric lies in [0, ``upper``] and is better in one ``direction``; ``floor`` is the worst tolerable value."""

    name: str
    primary: bool = False
    floor: float | None = None
    upper: float = 1.0

    @property
    def direction(self) -> str:
        return DIRECTIONS[self.name]

    @property
    def sign(self) -> float:
        """1 where higher is better, -1 where lower is."""
        return 1.0 if self.direction == "higher" else -1.0

    @property
    def worst(self) -> float:
        return 0.0 if self.direction == "higher" else self.upper

    def misses_floor(self, value: float) -> bool:
        return self.floor is not None and self.sign * (value - self.floor) < 0


@dataclass(frozen=True, slots=True)
class DisclosureRules:
    """The smallest class, the smallest cell and the fewest sites that may be told of, and the decimals of a value."""

    minimum_class: int = 20
    minimum_cell: int = 10
    minimum_sites: int = 3
    decimals: int = 4

    @property
    def smallest_class(self) -> int:
        """A class is a cell too, so the larger of the two limits holds for it."""
        return max(self.minimum_class, self.minimum_cell, 2)

    def with_site_policy(self, *, minimum_class: int, minimum_cell: int, decimals: int) -> "DisclosureRules":
        """Return the limits under a site's own ones where those are stricter."""
        return DisclosureRules(
            max(self.minimum_class, minimum_class),
            max(self.minimum_cell, minimum_cell),
            self.minimum_sites,
            min(self.decimals, decimals),
        )


@dataclass(frozen=True, slots=True)
class BenchmarkRules:
    """One version of a benchmark. ``labels[0]`` is the negative class or the background."""

    name: str
    version: int
    digest: str
    task: str
    labels: tuple[str, ...]
    metrics: tuple[MetricRule, ...]
    thresholds: tuple[float, ...] = ()
    failure_dice: tuple[float, ...] = ()
    subgroups: tuple[str, ...] = ()
    limits: DisclosureRules = DisclosureRules()

    @property
    def primary(self) -> MetricRule:
        return next(metric for metric in self.metrics if metric.primary)

    @property
    def binary(self) -> bool:
        return self.task == "classification" and len(self.labels) == 2

    @property
    def ranked_label(self) -> str:
        """The entry of a block whose primary metric is ranked."""
        return self.labels[1] if self.binary else OVERALL

    @property
    def reported_labels(self) -> tuple[str, ...]:
        """The classes or structures a block reports beside the ranked entry."""
        return self.labels if self.task == "classification" and not self.binary else self.labels[1:]


def benchmark_rules(definition: Mapping[str, Any], *, digest: str) -> BenchmarkRules:
    """Read the rules from the JSON object of a ``BenchmarkDefinition`` whose digest is ``digest``."""
    limits = definition.get("disclosure", {})
    return BenchmarkRules(
        name=definition["name"],
        version=definition["version"],
        digest=digest,
        task=definition["task"],
        labels=tuple(definition["labels"]),
        metrics=tuple(_metric_rule(metric) for metric in definition["metrics"]),
        thresholds=tuple(sorted(definition.get("thresholds", ()))),
        failure_dice=tuple(sorted(definition.get("failure_dice", ()))),
        subgroups=tuple(definition.get("subgroups", ())),
        limits=DisclosureRules(**{name: limits[name] for name in DisclosureRules.__slots__ if name in limits}),
    )


def _metric_rule(metric: Mapping[str, Any]) -> MetricRule:
    upper = 1.0 if metric["name"] != "hd95" else float(metric.get("cap_mm") or DEFAULT_CAP_MM)
    return MetricRule(metric["name"], metric.get("primary", False), metric.get("floor"), upper)
