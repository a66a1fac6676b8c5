"""Counts of scores that may be told: two-by-two tables, merged histograms, calibration sums.

For curves only, never for a ranked number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.statistics.arrays import Booleans, Floats, Integers
from benchmarks.statistics.classification import OneVersusRest
from benchmarks.statistics.disclosure import publishable_cuts

BINS = 32
NEAR_TENTHS = (3, 6, 10, 13, 16, 19, 22, 26, 29)
"""The edges, in 1/32, of the ten bins in which calibration is shown."""


@dataclass(frozen=True, slots=True)
class ScoreTables:
    """What may be told of one model's scores for one class, as the wire's messages."""

    points: tuple[dict[str, Any], ...]
    histogram: dict[str, Any]
    calibration: dict[str, Any]


def score_tables(
    view: OneVersusRest, model: int, thresholds: Sequence[float], *, minimum: int, decimals: int
) -> ScoreTables:
    """Return the tables of ``model``, cut so that together they tell of no small cell.

    First the declared thresholds and then the calibration edges, as far as both classes can be told there; then each
    class by itself at the 32 edges. A bin whose edge cannot be told is merged with its neighbour.
    """
    scores, positive, patient = view.probability[model], view.positive, view.patient
    told = publishable_cuts(scores, positive, patient, thresholds, minimum=minimum)
    tenths = [edge / BINS for edge in _coarse_first(NEAR_TENTHS)]
    shared = publishable_cuts(scores, positive, patient, tenths, minimum=minimum, published=told)
    cuts = (*told, *shared)
    return ScoreTables(
        points=tuple(_confusion(scores, positive, cut) if cut in told else SUPPRESSED for cut in thresholds),
        histogram={
            f"{name}{field}": value
            for name, part in (("negatives", ~positive), ("positives", positive))
            for field, value in _class_histogram(scores[part], patient[part], cuts, minimum).items()
        },
        calibration=_calibration(scores, positive, _uppers(cuts, NEAR_TENTHS), decimals),
    )


SUPPRESSED: dict[str, Any] = {
    "suppressed": True,
    "true_positive": None,
    "false_positive": None,
    "false_negative": None,
    "true_negative": None,
}
"""All four counts are withheld: with the class sizes known, any three would give the fourth."""


def _confusion(scores: Floats, positive: Booleans, threshold: float) -> dict[str, Any]:
    flagged = scores >= threshold
    return {
        "suppressed": False,
        "true_positive": int((flagged & positive).sum()),
        "false_positive": int((flagged & ~positive).sum()),
        "false_negative": int((~flagged & positive).sum()),
        "true_negative": int((~flagged & ~positive).sum()),
    }


def _class_histogram(scores: Floats, patient: Integers, cuts: Sequence[float], minimum: int) -> dict[str, Any]:
    everyone = np.ones(scores.size, dtype=bool)
    edges = [edge / BINS for edge in range(1, BINS)]
    told = publishable_cuts(scores, everyone, patient, edges, minimum=minimum, published=cuts)
    upper = _uppers(told, range(1, BINS))
    return {"_upper": upper, "": _counts(_places(scores, upper), len(upper))}


def _calibration(scores: Floats, positive: Booleans, upper: Sequence[int], decimals: int) -> dict[str, Any]:
    places = _places(scores, upper)
    sums = np.bincount(places, weights=scores, minlength=len(upper))
    counts = _counts(places, len(upper))
    return {
        "upper": tuple(upper),
        "count": counts,
        "score_sum": tuple(
            min(float(count), round(float(total), decimals)) for total, count in zip(sums, counts, strict=True)
        ),
        "positives": _counts(places[positive], len(upper)),
    }


def _places(scores: Floats, upper: Sequence[int]) -> Integers:
    """The bin of each score: bins hold their left end, the last also holds 1."""
    return np.searchsorted(np.array(upper[:-1]) / BINS, scores, side="right")


def _counts(places: Integers, size: int) -> tuple[int, ...]:
    return tuple(int(count) for count in np.bincount(places, minlength=size))


def _coarse_first(edges: Iterable[int]) -> list[int]:
    """Edges by halving: one half, the quarters, the eighths ... so that the merged bins of many sites share edges."""
    return sorted(edges, key=lambda edge: (-(edge & -edge), edge))


def _uppers(cuts: Iterable[float], edges: Iterable[int]) -> tuple[int, ...]:
    """The right ends of the bins between those cuts that lie on the edges."""
    return tuple(sorted({edge for edge in edges if edge / BINS in cuts} | {BINS}))
