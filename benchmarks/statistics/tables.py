"""Counts of many sites as one: decisions at the declared thresholds, failures, volumes, quantiles.

Counts add up over cases, so these numbers are about all cases together and not about a new hospital; their intervals
are binomial. No rank comes from here. A site that suppressed a count is left out of that sum, and the number of sites
says so.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.statistics.blocks import SiteBlock
from benchmarks.statistics.pooling import NORMAL_95, bounded_interval
from benchmarks.statistics.quantities import publishes
from benchmarks.statistics.rules import OVERALL, BenchmarkRules
from benchmarks.statistics.segmentation import QUANTILES

Table = dict[str, Any]
_DIGITS = 6


class Told(NamedTuple):
    """What one site told of one model's class or structure, and whether the site may be named."""

    part: Mapping[str, Any]
    place: int
    """The model's place in the vectors of the site's block."""

    cases: int
    named: bool


def told_of(
    blocks: Iterable[SiteBlock], models: Collection[str], *, named_sites: Collection[str] = ()
) -> dict[str, dict[str, list[Told]]]:
    """Return for each model and label what the sites told; where a site's blocks repeat a model, the last counts."""
    latest: dict[str, dict[str, tuple[SiteBlock, int]]] = {model: {} for model in models}
    for block in sorted(blocks, key=lambda block: (block.finished, block.digest)):
        for place, model in enumerate(block.models):
            if model in latest:
                latest[model][block.site] = block, place
    found: dict[str, dict[str, list[Told]]] = {}
    for model, sites in latest.items():
        told = found[model] = defaultdict(list)
        for site in sorted(sites):
            block, place = sites[site]
            for label, part in block.parts.items():
                told[label].append(Told(part, place, block.cases, site in named_sites))
    return found


def model_tables(told: Mapping[str, Sequence[Told]], rules: BenchmarkRules) -> dict[str, Table]:
    """Return the pooled tables of one model for each label that has any.

    Each sum needs the benchmark's least number of sites, unless all of its sites may be named.
    """
    labels = rules.reported_labels if rules.task == "classification" else (OVERALL, *rules.reported_labels)
    kinds = (
        {"operating_points": operating_points}
        if rules.task == "classification"
        else {"failures": failures, "volume": volume, "quantiles": quantiles}
    )
    tables = {
        label: {name: table for name, make in kinds.items() if (table := make(told.get(label, ()), rules))}
        for label in labels
    }
    return {label: table for label, table in tables.items() if table}


@publishes(
    "operating_points",
    "sensitivity_low",
    "sensitivity_high",
    "specificity",
    "specificity_low",
    "specificity_high",
    "threshold",
    title="At a declared threshold",
    formula=(
        "sensitivity = Σ TP / Σ (TP + FN); specificity = Σ TN / Σ (TN + FP), over hospitals that told their counts"
    ),
    source="Wilson 1927",
)
def operating_points(told: Sequence[Told], rules: BenchmarkRules) -> list[Table]:
    """Return sensitivity and specificity at each declared threshold, from the summed two-by-two counts."""
    found = []
    for index, threshold in enumerate(rules.thresholds):
        counts = [
            (one.named, cells)
            for one in told
            if one.part["operating_points"]
            and not (cells := one.part["operating_points"][index]["models"][one.place])["suppressed"]
        ]
        if _enough([named for named, _ in counts], rules):
            names = ("true_positive", "false_positive", "false_negative", "true_negative")
            hit, alarm, miss, right = (sum(cells[name] for _, cells in counts) for name in names)
            found.append(
                {"threshold": threshold, "sites": len(counts)}
                | _share("sensitivity", hit, hit + miss)
                | _share("specificity", right, right + alarm)
            )
    return found


@publishes(
    "failures",
    "share",
    "share_low",
    "share_high",
    "below",
    title="Failures",
    formula="Σ cases with Dice under the threshold / Σ cases",
    source="Maier-Hein et al. 2018; Wilson 1927",
)
def failures(told: Sequence[Told], rules: BenchmarkRules) -> list[Table]:
    """Return for each declared Dice threshold the share of cases under it."""
    found = []
    for index, below in enumerate(rules.failure_dice):
        counts = [
            (one.named, one.part["failures"][index]["models"][one.place], one.cases)
            for one in told
            if one.part["failures"] and one.part["failures"][index]["models"][one.place] is not None
        ]
        if _enough([named for named, _, _ in counts], rules):
            total = sum(cases for _, _, cases in counts)
            found.append(
                {"below": below, "sites": len(counts), "cases": total}
                | _share("share", sum(count for _, count, _ in counts), total)
            )
    return found


@publishes(
    "volume",
    "bias",
    title="Volume agreement",
    formula="bias = Σd / n; limits = bias ± 1.96 · SD(d), from Σd and Σd²",
    source="Bland and Altman 1986",
)
def volume(told: Sequence[Told], rules: BenchmarkRules) -> Table | None:
    """Return bias and 95% limits of agreement of the volume in millilitres, predicted less reference.

    From the sums of the differences and of their squares: mean and mean +- 1.96 SD over all cases (Bland and Altman,
    Lancet 1986; 327:307).
    """
    sums = [
        (one.named, one.part["volume"][one.place])
        for one in told
        if one.part["volume"] and one.part["volume"][one.place]["count"]
    ]
    count = sum(one["count"] for _, one in sums)
    if not _enough([named for named, _ in sums], rules) or count < 2:
        return None
    mean = sum(one["sum_d"] for _, one in sums) / count
    spread = np.sqrt(max(0.0, sum(one["sum_d2"] for _, one in sums) - count * mean**2) / (count - 1))
    low, high = mean - NORMAL_95 * spread, mean + NORMAL_95 * spread
    return {"sites": len(sums), "cases": count, "bias": _round(mean), "low": _round(low), "high": _round(high)}


@publishes(
    "quantiles",
    "q10",
    "q25",
    "q50",
    "q75",
    "q90",
    title="Spread over cases",
    formula="mean over hospitals of each hospital's quantiles",
    source="Maier-Hein et al. 2018",
)
def quantiles(told: Sequence[Told], rules: BenchmarkRules) -> list[Table]:
    """Return the five quantiles of each metric over cases, averaged over the sites that told them; no interval.

    The average of sites' quantiles is no quantile of all cases. It shows how a score is spread at a typical site.
    """
    found = []
    for rule in rules.metrics:
        rows = [
            (one.named, metric["models"][one.place])
            for one in told
            for metric in one.part["quantiles"]
            if metric["metric"] == rule.name
        ]
        if _enough([named for named, _ in rows], rules):
            means = np.mean([row for _, row in rows], axis=0)
            values = {f"q{round(100 * share)}": _round(mean) for share, mean in zip(QUANTILES, means, strict=True)}
            found.append({"metric": rule.name, "sites": len(rows)} | values)
    return found


def _enough(named: Sequence[bool], rules: BenchmarkRules) -> bool:
    return bool(named) and (len(named) >= rules.limits.minimum_sites or all(named))


def _share(name: str, count: int, total: int) -> Table:
    """A share with its binomial 95% interval (Wilson)."""
    if not total:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    share = count / total
    error = np.sqrt(share * (1 - share) / total)
    low, high = bounded_interval(np.asarray(share), np.asarray(error), NORMAL_95, upper=1.0, size=total)
    return {name: _round(share), f"{name}_low": _round(float(low)), f"{name}_high": _round(float(high))}


def _round(value: float) -> float:
    return round(float(value), _DIGITS) + 0.0
