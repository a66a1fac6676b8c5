"""A site's signed estimate block as the hub computes with it: moments and counts, without the wire's types."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.statistics.arrays import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The estimate of one metric for the block's models (m,) and its covariance between them (m, m)."""

    theta: Floats
    cov: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One class or structure: the metrics that are estimated, and the class sizes where they are told."""

    label: str
    positives: int | None
    negatives: int | None
    metrics: Mapping[str, Moments]


@dataclass(frozen=True, slots=True, eq=False)
class ModelTables:
    """One model's counts for one class of the benchmark, in merged bins whose right ends are in 1/32."""

    negatives_upper: tuple[int, ...]
    negatives: tuple[int, ...]
    positives_upper: tuple[int, ...]
    positives: tuple[int, ...]
    calibration_upper: tuple[int, ...]
    calibration_count: tuple[int, ...]
    calibration_score_sum: tuple[float, ...]
    calibration_positives: tuple[int, ...]


Group = tuple[str, str] | None
"""An attribute and its level, or None for all cases."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteBlock:
    """What one site reported for some models of one benchmark version."""

    site: str
    digest: str
    """The digest of the signed block, which the hub gives; the snapshot names its inputs by it."""

    finished: str
    models: tuple[str, ...]
    cases: int
    patients: int
    failed: tuple[int, ...]
    entries: Mapping[tuple[Group, str], Entry]
    tables: Mapping[str, tuple[ModelTables, ...]]
    """For each class, the tables of every model; empty where the class has none."""

    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Each class or structure as it was sent, without its metrics: for the counts that only add up."""


def site_block(block: Mapping[str, Any], *, digest: str) -> SiteBlock:
    """Read the whole JSON object of an ``EstimateBlock`` that has passed the wire and ``validate.refusal``."""
    entries: dict[tuple[Group, str], Entry] = {}
    for group, parts in _groups(block):
        entries |= {(group, part["label"]): _entry(part) for part in parts}
    return SiteBlock(
        site=block["silo_id"],
        digest=digest,
        finished=str(block["finished"]),
        models=tuple(block["models"]),
        cases=block["cases"],
        patients=block["patients"],
        failed=tuple(block["failed"]),
        entries=entries,
        tables={part["label"]: _tables(part) for part in block["classes"]},
        parts={part["label"]: _counts(part) for part in (*block["classes"], *block["structures"])},
    )


def _groups(block: Mapping[str, Any]) -> Iterator[tuple[Group, Sequence[Mapping[str, Any]]]]:
    yield None, (*block["classes"], *block["structures"])
    for subgroup in block["subgroups"]:
        yield (subgroup["attribute"], subgroup["level"]), (*subgroup["classes"], *subgroup["structures"])


def _entry(part: Mapping[str, Any]) -> Entry:
    metrics = {
        metric["metric"]: Moments(
            np.array(metric["theta"], dtype=np.float64), np.array(metric["cov"], dtype=np.float64)
        )
        for metric in part["metrics"]
        if metric["status"] == "estimated"
    }
    return Entry(part["label"], part.get("positives"), part.get("negatives"), metrics)


def _counts(part: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in part.items() if name != "metrics"}


def _tables(part: Mapping[str, Any]) -> tuple[ModelTables, ...]:
    return tuple(
        ModelTables(
            negatives_upper=tuple(histogram["negatives_upper"]),
            negatives=tuple(histogram["negatives"]),
            positives_upper=tuple(histogram["positives_upper"]),
            positives=tuple(histogram["positives"]),
            calibration_upper=tuple(calibration["upper"]),
            calibration_count=tuple(calibration["count"]),
            calibration_score_sum=tuple(calibration["score_sum"]),
            calibration_positives=tuple(calibration["positives"]),
        )
        for histogram, calibration in zip(part.get("histograms", ()), part.get("calibration", ()), strict=True)
    )
