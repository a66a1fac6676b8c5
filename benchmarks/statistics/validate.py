"""Whether a block can be true and tells of nobody. The hub refuses with a reason and never repairs.

What the wire has checked (shapes, types, finite numbers) is taken as given. Every bound is one no honest site can pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.statistics.arrays import Floats
from benchmarks.statistics.disclosure import RATE_DECIMALS, covariance_decimals, is_small
from benchmarks.statistics.rules import OVERALL, BenchmarkRules, MetricRule
from benchmarks.statistics.table_checks import class_table_findings, structure_table_findings

INCONSISTENT = "estimate-inconsistent"
NOT_PSD = "estimate-not-psd"
SMALL_CELL = "estimate-small-cell"

PSD_TOLERANCE = 1e-9
"""How far below zero an eigenvalue may lie, as a share of the largest variance."""

_NEAR_CERTAIN = 0.01
_SLACK = 0.1

BOOTSTRAP_SLACK = 1.5
"""What a covariance from 1,000 resamples may lie above the bound of the exact one."""

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where an entry stands: in which block, and whether it is about all its cases or a subgroup."""

    block: JsonObject
    rules: BenchmarkRules
    whole: bool

    @property
    def least(self) -> int:
        return self.rules.limits.smallest_class

    @property
    def largest_cluster(self) -> int:
        """The most images one patient can have."""
        return int(self.block["cases"] - self.block["patients"] + 1)

    def class_sizes(self, entry: JsonObject) -> tuple[int, int]:
        """The class sizes, or the least they can be where they are not told."""
        return int(entry.get("positives") or self.least), int(entry.get("negatives") or self.least)

    def units(self, entry: JsonObject) -> int:
        """The fewest independent units the entry's means can be over."""
        if self.whole:
            return int(self.block["patients"])
        return min(int(self.block["patients"]), sum(self.class_sizes(entry)) if entry.get("positives") else self.least)


def refusal(block: JsonObject, rules: BenchmarkRules) -> str | None:
    """Return the code by which the whole JSON object of an ``EstimateBlock`` must be refused, or None.

    Fields at their default must be there: give what the wire's model dumps.
    """
    return next(_findings(block, rules), None)


def _findings(block: JsonObject, rules: BenchmarkRules) -> Iterator[str]:
    yield from _header_findings(block, rules)
    yield from _group_findings(block, _Scope(block, rules, whole=True))
    for subgroup in block["subgroups"]:
        if subgroup["status"] == "estimated":
            yield from _group_findings(subgroup, _Scope(block, rules, whole=False))
        elif subgroup["classes"] or subgroup["structures"]:
            yield SMALL_CELL
    if rules.task == "classification":
        yield from _margin_findings(block, rules)


def _header_findings(block: JsonObject, rules: BenchmarkRules) -> Iterator[str]:
    limits, own = block["limits"], rules.limits
    if block["benchmark"]["digest"] != rules.digest or block["patients"] > block["cases"]:
        yield INCONSISTENT
    if any(failed > block["cases"] for failed in block["failed"]) or limits["decimals"] > own.decimals:
        yield INCONSISTENT
    if limits["minimum_class"] < own.minimum_class or limits["minimum_cell"] < own.minimum_cell:
        yield SMALL_CELL


def _group_findings(holder: JsonObject, scope: _Scope) -> Iterator[str]:
    rules = scope.rules
    expected = [rules.ranked_label] if rules.binary else [OVERALL, *rules.reported_labels]
    own, other = ("classes", "structures") if rules.task == "classification" else ("structures", "classes")
    if [entry["label"] for entry in holder[own]] != expected or holder[other]:
        yield INCONSISTENT
        return
    for entry in holder[own]:
        yield from _entry_findings(entry, scope)


def _entry_findings(entry: JsonObject, scope: _Scope) -> Iterator[str]:
    rules = scope.rules
    if [metric["metric"] for metric in entry["metrics"]] != [rule.name for rule in rules.metrics]:
        yield INCONSISTENT
        return
    estimated = any(metric["status"] == "estimated" for metric in entry["metrics"])
    if estimated and scope.block["patients"] < scope.least:
        yield SMALL_CELL
    told = estimated and scope.whole
    if rules.task == "classification":
        yield from _count_findings(entry, scope, estimated=estimated)
        yield from class_table_findings(entry, rules, told=told)
    else:
        yield from structure_table_findings(entry, scope.block["cases"], rules, told=told)
    for metric, rule in zip(entry["metrics"], rules.metrics, strict=True):
        if metric["status"] == "estimated":
            yield from _precision_findings(metric, rule, scope)
            yield from _metric_findings(metric, rule, entry, scope)


def _count_findings(entry: JsonObject, scope: _Scope, *, estimated: bool) -> Iterator[str]:
    counts, cases = (entry["positives"], entry["negatives"]), scope.block["cases"]
    if None in counts:
        if counts != (None, None) or (estimated and scope.rules.binary):
            yield INCONSISTENT
        return
    if sum(counts) != cases if scope.whole else sum(counts) > cases:
        yield INCONSISTENT
    if min(counts) < scope.least:
        yield SMALL_CELL


def _precision_findings(metric: JsonObject, rule: MetricRule, scope: _Scope) -> Iterator[str]:
    """Numbers with more digits than the block says it kept to, in which anything could be told."""
    decimals = scope.block["limits"]["decimals"]
    kept = min(decimals, RATE_DECIMALS) if rule.name == "balanced_accuracy" else decimals
    if _finer(metric["theta"], kept) or _finer(metric["cov"], covariance_decimals(kept)):
        yield INCONSISTENT


def _finer(values: Sequence[Any], decimals: int) -> bool:
    """Whether a value is not, to its last bit, one that was rounded so."""
    found = np.array(values, dtype=float)
    exact = np.array([round(value, decimals) for value in found.ravel().tolist()]).reshape(found.shape)
    return bool(((found != np.round(found, decimals)) & (found != exact)).any())


def _metric_findings(metric: JsonObject, rule: MetricRule, entry: JsonObject, scope: _Scope) -> Iterator[str]:
    theta, cov = np.array(metric["theta"]), np.array(metric["cov"])
    variance = np.diag(cov)
    tolerance = PSD_TOLERANCE * max(float(variance.max()), 0.0)
    if ((theta < 0) | (theta > rule.upper)).any():
        yield INCONSISTENT
    elif np.abs(cov - cov.T).max() > tolerance or np.linalg.eigvalsh(cov).min() < -tolerance:
        yield NOT_PSD
    elif (variance > _largest_variance(theta, rule, entry, scope)).any() or _too_certain(
        theta, variance, rule, entry, scope
    ):
        yield INCONSISTENT


def _largest_variance(theta: Floats, rule: MetricRule, entry: JsonObject, scope: _Scope) -> Floats:
    """Return what no variance can exceed (m,).

    Values in [0, U] with mean t have a sample variance of at most t (U - t) n / (n - 1) (Bhatia and Davis, Amer. Math.
    Monthly 2000; 107:353); DeLong's is that of the placement values of each class, which lie in [0, 1]. With several
    images of a patient a bound grows by the largest cluster there can be, doubled for AUROC's mixed term. ECE, average
    precision and balanced accuracy move by at most 2/n when one case of the smaller class does (Efron and Stein 1981).
    """
    half = 0.5 * 10.0 ** -scope.block["limits"]["decimals"] if rule.name != "balanced_accuracy" else 0.005
    inner = np.where(theta > rule.upper / 2, np.maximum(theta - half, 0), np.minimum(theta + half, rule.upper))
    spread, cluster = inner * (rule.upper - inner), scope.largest_cluster
    if rule.name == "auroc":
        bound = spread * sum(1 / (size - 1) for size in scope.class_sizes(entry))
        cluster = 1 if cluster == 1 else 2 * cluster
    elif rule.name in ("ece", "auprc", "balanced_accuracy"):
        bound = np.full(theta.shape, 2 * BOOTSTRAP_SLACK / (min(scope.class_sizes(entry)) - 1))
    else:
        bound = spread * BOOTSTRAP_SLACK / (scope.units(entry) - 1)
    return np.asarray(bound * cluster + half**2)


def _too_certain(theta: Floats, variance: Floats, rule: MetricRule, entry: JsonObject, scope: _Scope) -> bool:
    """Whether an AUROC or a balanced accuracy claims less variance than n allows.

    Only 0, 1 and all-tied scores have none. Else positives that all tie have the least, (t - 1/2) (1 - t) over the
    number of the others, for t the larger of the two sides; a tenth of that is refused, so that no bootstrap is. With
    several images of a patient errors may cancel within the patient, and the mean over classes has no sizes of its own:
    there only an AUROC without any variance is refused.
    """
    if rule.name not in ("auroc", "balanced_accuracy"):
        return False
    side = np.maximum(theta, 1 - theta)
    certain = np.minimum(side - 0.5, 1 - side) <= _NEAR_CERTAIN
    told = bool(entry.get("positives")) and scope.largest_cluster == 1
    if not told and rule.name == "balanced_accuracy":
        return False
    least = _SLACK * (side - 0.5) * (1 - side) / max(scope.class_sizes(entry)) if told else 0.0
    return bool((~certain & (variance <= least)).any())


def _margin_findings(block: JsonObject, rules: BenchmarkRules) -> Iterator[str]:
    """Counts that follow from others by subtraction: hidden classes, and what the subgroups leave over."""
    least = rules.limits.smallest_class
    entries = [entry for entry in block["classes"] if entry["label"] != OVERALL]
    counts = {entry["label"]: entry["positives"] for entry in entries if entry["positives"] is not None}
    hidden = len(entries) - len(counts)
    if not rules.binary and hidden and (hidden == 1 or block["cases"] - sum(counts.values()) < least):
        yield SMALL_CELL
    for attribute in rules.subgroups:
        levels = [s for s in block["subgroups"] if s["attribute"] == attribute and s["status"] == "estimated"]
        if levels and any(_rest_is_small(levels, label, count, least) for label, count in counts.items()):
            yield SMALL_CELL


def _rest_is_small(levels: Sequence[JsonObject], label: str, count: int, least: int) -> bool:
    entries = [entry for level in levels for entry in level["classes"] if entry["label"] == label]
    return is_small(count - sum(entry["positives"] or 0 for entry in entries), least)
