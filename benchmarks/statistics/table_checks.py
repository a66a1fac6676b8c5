"""Whether the counts of a block agree with each other and none is small, nor the difference of any two."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from benchmarks.statistics.disclosure import is_small
from benchmarks.statistics.histogram import BINS
from benchmarks.statistics.rules import BenchmarkRules
from benchmarks.statistics.segmentation import QUANTILE_PATIENTS

_INCONSISTENT = "estimate-inconsistent"
_SMALL_CELL = "estimate-small-cell"


def class_table_findings(entry: Mapping[str, Any], rules: BenchmarkRules, *, told: bool) -> Iterator[str]:
    """Yield a problem code for each fault in the tables of a class; where nothing may be ``told`` any table is one."""
    if not any(entry[name] for name in ("operating_points", "histograms", "calibration")):
        return
    if not told or entry["positives"] is None:
        yield _SMALL_CELL
        return
    minimum, sizes = rules.limits.minimum_cell, (entry["positives"], entry["negatives"])
    if [point["threshold"] for point in entry["operating_points"]] != list(rules.thresholds):
        yield _INCONSISTENT
    for model, (histogram, bins) in enumerate(zip(entry["histograms"], entry["calibration"], strict=True)):
        points = [(point["threshold"], point["models"][model]) for point in entry["operating_points"]]
        told_points = [(threshold, counts) for threshold, counts in points if not counts["suppressed"]]
        faults = [*_sum_findings(histogram, told_points, sizes), *_calibration_findings(bins, sum(sizes))]
        yield from faults
        if not faults:
            for below in _below_each_cut(histogram, bins, told_points):
                yield from _step_findings(below, minimum)


def structure_table_findings(
    entry: Mapping[str, Any], cases: int, rules: BenchmarkRules, *, told: bool
) -> Iterator[str]:
    """Yield a problem code for each fault in the tables of a structure of ``cases`` cases."""
    minimum, empty = rules.limits.minimum_cell, entry["empty_reference"]
    if empty is None and not any(entry[name] for name in ("quantiles", "failures", "volume")):
        return
    if not told:
        yield _SMALL_CELL
    if empty is not None:
        yield from _step_findings([empty, cases], minimum)
    if entry["quantiles"] and cases < QUANTILE_PATIENTS:
        yield _SMALL_CELL
    if any(list(row) != sorted(row) for metric in entry["quantiles"] for row in metric["models"]):
        yield _INCONSISTENT
    for column in zip(*(failure["models"] for failure in entry["failures"]), strict=True):
        yield from _step_findings([*(count for count in column if count is not None), cases], minimum)
    for volume in entry["volume"]:
        if volume["count"] > cases or volume["sum_d"] ** 2 > volume["count"] * volume["sum_d2"] * (1 + 1e-9):
            yield _INCONSISTENT


def _step_findings(below: Sequence[int], minimum: int) -> Iterator[str]:
    """Counts below rising cuts may not fall, nor rise by a small count."""
    for before, after in pairwise((0, *below)):
        if after < before:
            yield _INCONSISTENT
        if is_small(after - before, minimum):
            yield _SMALL_CELL


def _sum_findings(
    histogram: Mapping[str, Any], told: Sequence[tuple[float, Mapping[str, Any]]], sizes: tuple[int, int]
) -> Iterator[str]:
    for column, size in zip(("positives", "negatives"), sizes, strict=True):
        edges, counts = histogram[f"{column}_upper"], histogram[column]
        if sum(counts) != size or len(edges) != len(counts) or not _increasing(edges) or edges[-1] != BINS:
            yield _INCONSISTENT
    for _, table in told:
        positives = table["true_positive"] + table["false_negative"]
        if (positives, table["true_negative"] + table["false_positive"]) != sizes:
            yield _INCONSISTENT


def _below_each_cut(
    histogram: Mapping[str, Any],
    calibration: Mapping[str, Any],
    told: Sequence[tuple[float, Mapping[str, Any]]],
) -> Iterator[list[int]]:
    """For each class the number of scores below each cut that is told anywhere, in the order of the cuts."""
    hits = calibration["positives"]
    alarms = [count - positives for count, positives in zip(calibration["count"], hits, strict=True)]
    for column, cell, calibrated in (
        ("positives", "false_negative", hits),
        ("negatives", "true_negative", alarms),
    ):
        cuts = [(threshold, table[cell]) for threshold, table in told]
        for edges, counts in ((histogram[f"{column}_upper"], histogram[column]), (calibration["upper"], calibrated)):
            cuts += [(edge / BINS, below) for edge, below in zip(edges, accumulate(counts), strict=True)]
        yield [below for _, below in sorted(cuts)]


def _calibration_findings(bins: Mapping[str, Any], cases: int) -> Iterator[str]:
    columns = bins["upper"], bins["count"], bins["score_sum"], bins["positives"]
    shaped = len({len(column) for column in columns}) == 1 and _increasing(bins["upper"]) and bins["upper"][-1] == BINS
    if not shaped or sum(bins["count"]) != cases:
        yield _INCONSISTENT
        return
    if any(not 0 <= score <= count or hits > count for _, count, score, hits in zip(*columns, strict=True)):
        yield _INCONSISTENT


def _increasing(values: Iterable[int]) -> bool:
    return all(before < after for before, after in pairwise(values))
