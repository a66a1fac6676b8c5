"""Curves from counts: pooled ROC and precision-recall with the band that is guaranteed, and calibration.

Sites merge bins as they must, so between a site's edges only bounds of its counts are known. Sums of counts are exact
and additive; every bound below holds for certain, whatever the scores were. Ranked numbers never come from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from benchmarks.statistics.arrays import Floats, Integers
from benchmarks.statistics.blocks import ModelTables, SiteBlock
from benchmarks.statistics.pooling import NORMAL_95, bounded_interval
from benchmarks.statistics.quantities import publishes
from benchmarks.statistics.rules import BenchmarkRules

EDGES = 33
_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class ClassCounts:
    """Scores of one class as merged bins: how many lie in bins that start, and that end, at each 1/32.

    ``below`` is how many would lie under each edge if the scores of a bin were spread evenly over it.
    """

    starts: Integers
    ends: Integers
    below: Floats

    def __add__(self, other: "ClassCounts") -> "ClassCounts":
        return ClassCounts(self.starts + other.starts, self.ends + other.ends, self.below + other.below)

    @property
    def total(self) -> int:
        return int(self.starts.sum())

    @property
    def surely_below(self) -> Integers:
        """At each edge, the scores in bins that end there or before."""
        return self.ends.cumsum()

    @property
    def possibly_below(self) -> Integers:
        """At each edge, the scores in bins that start before it."""
        return self.starts.cumsum() - self.starts


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCounts:
    """Both classes; sites add up to the pooled counts in any order."""

    positives: ClassCounts
    negatives: ClassCounts

    def __add__(self, other: "ScoreCounts") -> "ScoreCounts":
        return ScoreCounts(self.positives + other.positives, self.negatives + other.negatives)


def score_counts(tables: ModelTables) -> ScoreCounts:
    """Read one site's histogram of one model."""
    return ScoreCounts(
        _class_counts(tables.positives_upper, tables.positives), _class_counts(tables.negatives_upper, tables.negatives)
    )


def _class_counts(upper: Sequence[int], counts: Sequence[int]) -> ClassCounts:
    edges = (0, *upper)
    starts, ends = (
        np.bincount(side, weights=counts, minlength=EDGES).astype(np.int64) for side in (edges[:-1], edges[1:])
    )
    return ClassCounts(starts, ends, np.interp(np.arange(EDGES), edges, np.cumsum((0, *counts))))


@publishes(
    "roc",
    title="ROC curve",
    formula="rates from summed histograms; bounds put each bin's scores at its ends",
    source="Cormode and Markov 2022",
    words=(
        "Both rates at every threshold with the band that holds for certain, whatever the scores within a bin were."
    ),
)
def roc(counts: ScoreCounts) -> list[dict[str, Any]]:
    """Return for each threshold, from above 1 down to 0, both rates with their certain bounds."""
    true, false = _flagged_shares(counts.positives), _flagged_shares(counts.negatives)
    names = ("tpr", "tpr_low", "tpr_high"), ("fpr", "fpr_low", "fpr_high")
    return [
        {"threshold": edge / (EDGES - 1)}
        | {name: _round(share[edge]) for name, share in zip(names[0], true, strict=True)}
        | {name: _round(share[edge]) for name, share in zip(names[1], false, strict=True)}
        for edge in reversed(range(EDGES))
    ]


def _flagged_shares(counts: ClassCounts) -> tuple[Floats, Floats, Floats]:
    """The likely, the least and the largest possible share of scores at or above each edge."""
    below = counts.below, counts.possibly_below, counts.surely_below
    likely, low, high = (1.0 - array / counts.total for array in below)
    # The last edge stands for a threshold above every score.
    likely[-1] = low[-1] = high[-1] = 0.0
    return likely, low, high


@publishes(
    "area",
    title="Area of the drawn curve",
    formula="surely right pairs / all ≤ area ≤ 1 − surely wrong pairs / all",
    source="Cormode and Markov 2022",
)
def auroc_bounds(counts: ScoreCounts) -> tuple[float, float, float]:
    """Return the area under the drawn ROC and its certain lower and upper bound."""
    pairs = counts.positives.total * counts.negatives.total
    surely_right = counts.positives.starts @ counts.negatives.surely_below
    surely_wrong = counts.negatives.starts @ counts.positives.surely_below
    tpr, fpr = _flagged_shares(counts.positives)[0], _flagged_shares(counts.negatives)[0]
    area = float(np.sum((fpr[:-1] - fpr[1:]) * (tpr[:-1] + tpr[1:]) / 2))
    return _round(area), _round(float(surely_right) / pairs), _round(1 - float(surely_wrong) / pairs)


@publishes(
    "precision_recall",
    title="Precision and recall",
    formula="bounds of both from summed histograms",
    source="Cormode and Markov 2022",
)
def precision_recall(counts: ScoreCounts) -> list[dict[str, Any]]:
    """Return the bounds of precision and recall at each threshold at which some score must be flagged."""
    total = counts.positives.total, counts.negatives.total
    true, false = _flagged_shares(counts.positives), _flagged_shares(counts.negatives)
    points = []
    for edge in reversed(range(EDGES)):
        _, low_hits, high_hits = (share[edge] * total[0] for share in true)
        _, low_alarms, high_alarms = (share[edge] * total[1] for share in false)
        if low_hits + low_alarms > 0:
            points.append(
                {
                    "threshold": edge / (EDGES - 1),
                    "recall_low": _round(true[1][edge]),
                    "recall_high": _round(true[2][edge]),
                    "precision_low": _round(low_hits / max(low_hits + high_alarms, 1.0)),
                    "precision_high": _round(high_hits / max(high_hits + low_alarms, 1.0)),
                }
            )
    return points


@publishes(
    "calibration",
    title="Calibration curve",
    formula="Σ score / n against Σ positive / n in bins every hospital shares",
    source="Nixon et al. 2019; Wilson 1927",
)
def calibration(tables: Sequence[ModelTables]) -> list[dict[str, Any]]:
    """Return mean score against observed share, over bins whose edges every site has; intervals are binomial."""
    shared = sorted(set.intersection(*(set(table.calibration_upper) for table in tables)))
    count, score, positive = (np.zeros(len(shared)) for _ in range(3))
    for table in tables:
        places = np.searchsorted(shared, table.calibration_upper)
        np.add.at(count, places, table.calibration_count)
        np.add.at(score, places, table.calibration_score_sum)
        np.add.at(positive, places, table.calibration_positives)
    filled = np.flatnonzero(count)
    observed = positive[filled] / count[filled]
    error = np.sqrt(observed * (1 - observed) / count[filled])
    low, high = bounded_interval(observed, error, NORMAL_95, upper=1.0, size=count[filled])
    return [
        {
            "upper": shared[place] / (EDGES - 1),
            "count": int(count[place]),
            "score": _round(score[place] / count[place]),
            "observed": _round(observed[index]),
            "low": _round(low[index]),
            "high": _round(high[index]),
        }
        for index, place in enumerate(filled)
    ]


def model_curves(
    blocks: Sequence[SiteBlock], rules: BenchmarkRules, model: str, *, named_sites: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return the pooled curves of one model for each reported class, as JSON.

    A class with fewer sites than the benchmark's limit is left out, unless every one of its sites lets itself be named.
    """
    latest = {block.site: block for block in sorted(blocks, key=lambda block: block.finished) if model in block.models}
    curves: dict[str, Any] = {}
    for label in rules.reported_labels:
        found = {site: _tables_of(block, label, model) for site, block in latest.items()}
        tables = {site: table for site, table in sorted(found.items()) if table is not None}
        if tables and (len(tables) >= rules.limits.minimum_sites or tables.keys() <= named_sites):
            curves[label] = _curves(list(tables.values()))
    return curves


def _tables_of(block: SiteBlock, label: str, model: str) -> ModelTables | None:
    tables = block.tables.get(label, ())
    return tables[block.models.index(model)] if tables else None


def _curves(tables: list[ModelTables]) -> dict[str, Any]:
    counts = reduce(ScoreCounts.__add__, map(score_counts, tables))
    area, low, high = auroc_bounds(counts)
    return {
        "sites": len(tables),
        "positives": counts.positives.total,
        "negatives": counts.negatives.total,
        "auroc": {"estimate": area, "low": low, "high": high},
        "roc": roc(counts),
        "precision_recall": precision_recall(counts),
        "calibration": calibration(tables),
    }


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), _DIGITS) + 0.0
