"""How many bits a released block can carry: for each number the logarithm of its range over its step.

An upper bound, not an estimate: a model that is made to leak can choose every one of these numbers at most freely
within its range. Structure that repeats the task (ids, digests, limits) carries nothing.
"""

from collections.abc import Iterator
from math import log2
from typing import Any

from silo_node.wire.errors import PROBLEMS

METRIC_RANGES = {"hd95": 1000.0}
"""The largest value of a metric where that is not 1."""

REPEATED = frozenset(
    {"format", "task_id", "evaluation_id", "silo_id", "benchmark", "cohort", "models", "attempt", "software", "cases"}
    | {"patients"}
    | {"model", "limits", "started", "finished", "label", "metric", "attribute", "level", "threshold", "below"}
)
"""Fields whose value follows from the task, the clock of the node, or this site's cohort before any model ran."""

SIGNIFICANT_DIGITS = 2
DECADES = 12
"""Costs a case are released to two digits over at most this many powers of ten."""

_STATUS_BITS = 1.0
_CODE_BITS = log2(len(PROBLEMS))
_COST_BITS = log2(9 * 10 ** (SIGNIFICANT_DIGITS - 1) * DECADES)
MOST_DECIMALS = 6
"""What a benchmark may let a site tell of a score; a report does not say which it kept to."""


def block_bits(block: dict[str, Any]) -> float:
    """Return the bound for a whole ``EstimateBlock`` as JSON, in bits, for all of its models together."""
    decimals, cases = block["limits"]["decimals"], block["cases"]
    sizes = _Sizes(decimals, cases)
    return sum(sum(sizes.of(name, value)) for name, value in block.items() if name not in REPEATED)


def report_bits(report: dict[str, Any]) -> float:
    """Return the bound for a ``RoundReport`` as JSON, in bits, without its model update; see :func:`update_bits`."""
    scores = [report[name] for name in ("score", "personal", "alone") if report.get(name)]
    sizes = _Sizes(MOST_DECIMALS, report["score"]["cases"])
    others = [(name, report[name]) for name in ("verdict", "exchange") if report.get(name)]
    return (
        sum(map(_score_bits, scores))
        + sum(sum(sizes.of(name, value)) for name, value in others)
        + _STATUS_BITS
        + _COST_BITS
    )


def _score_bits(score: dict[str, Any]) -> float:
    if score["value"] is None:
        return _CODE_BITS
    return log2(METRIC_RANGES.get(str(score["metric"]), 1.0) * 10**MOST_DECIMALS + 1)


def update_bits(report: dict[str, Any]) -> float:
    """Return how much a report's model update has room for: every bit of its file."""
    return 8.0 * report["update"]["size"] if report["update"] else 0.0


class _Sizes:
    """The bits of each kind of field in a block about this many cases."""

    def __init__(self, decimals: int, cases: int) -> None:
        self._step, self._cases = 10.0**-decimals, max(cases, 1)

    def of(self, name: str, value: Any, largest: float = 1.0) -> Iterator[float]:
        if isinstance(value, dict):
            upper = METRIC_RANGES.get(str(value.get("metric", "")), 1.0)
            for key, inner in value.items():
                if key not in REPEATED:
                    yield from self.of(key, inner, upper)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from self.of(name, inner, largest)
        else:
            yield self._scalar(name, value, largest)

    def _scalar(self, name: str, value: Any, largest: float) -> float:
        if name in ("reason", "code"):
            return _CODE_BITS
        if value is None or isinstance(value, bool | str):
            return _STATUS_BITS
        if name in ("seconds_mean", "seconds_sd", "peak_memory_mb"):
            return _COST_BITS
        if isinstance(value, int):
            return log2(self._cases + 1)
        if name == "cov":
            # A covariance is told to twice the decimals; its largest value is a quarter of the range squared.
            return log2(max(largest**2 / 4 / (self._step**2 / 100), 2))
        if name in ("sum_d", "sum_d2", "score_sum"):
            return 53.0
        return log2(largest / self._step + 1)
