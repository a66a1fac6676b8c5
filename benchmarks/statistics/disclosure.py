"""What may be told about few patients, and how a value is rounded before it leaves.

A count of patients is small if it is 1 to ``minimum`` - 1. A small count must not appear, and must not follow from what
does appear: so every count that leaves is a sum of cells none of which is small.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.statistics.arrays import Booleans, Floats, Integers


def is_small(count: int, minimum: int) -> bool:
    """Whether a count tells of too few. None at all may be told, as in official statistics."""
    return 0 < count < minimum


def publishable_cuts(
    values: Floats,
    group: Booleans,
    patient: Integers,
    candidates: Iterable[float],
    *,
    minimum: int,
    published: Sequence[float] = (),
) -> tuple[float, ...]:
    """Return the candidates at which the counts below and at-or-above may be told, beside those ``published``.

    All cuts together divide ``values`` (n,) into cells. In each cell and each of the two ``group`` classes the number
    of patients is nought or at least ``minimum``. Any difference of told counts is a sum of such cells, so no small
    count can be worked out, whatever is subtracted from what.
    """
    cuts = [-np.inf, *published, np.inf]
    accepted = []
    for candidate in candidates:
        if candidate in cuts:
            accepted.append(candidate)
            continue
        below, above = max(cut for cut in cuts if cut <= candidate), min(cut for cut in cuts if cut > candidate)
        parts = (values >= below) & (values < candidate), (values >= candidate) & (values < above)
        if all(_tellable(part, group, patient, minimum) for part in parts):
            cuts.append(candidate)
            accepted.append(candidate)
    return tuple(accepted)


def _tellable(part: Booleans, group: Booleans, patient: Integers, minimum: int) -> bool:
    return not any(is_small(np.unique(patient[part & of]).size, minimum) for of in (group, ~group))


def withheld_classes(counts: Sequence[int], minimum: int) -> tuple[bool, ...]:
    """Say which classes' counts to withhold when the total is known and the classes divide it.

    Small classes are withheld, and then the next smallest until what is withheld adds up to ``minimum`` over at least
    two classes: otherwise the total less the rest would give a small count back.
    """
    withheld = [count < minimum for count in counts]
    for index in sorted(range(len(counts)), key=lambda index: (counts[index], index)):
        hidden = [count for count, hide in zip(counts, withheld, strict=True) if hide]
        if not hidden or (len(hidden) > 1 and sum(hidden) >= minimum):
            break
        withheld[index] = True
    return tuple(withheld)


RATE_DECIMALS = 2
"""Balanced accuracy is two counts over two known totals: with more decimals, suppressed counts could be worked out."""


def covariance_decimals(decimals: int) -> int:
    """Return the decimals of a covariance whose estimates have so many."""
    return min(2 * decimals + 2, 14)


def rounded(theta: Floats, cov: Floats, *, decimals: int) -> tuple[Floats, Floats]:
    """Round estimates to ``decimals`` and their covariance to a finer grid, keeping it positive semi-definite.

    The variance of the rounding itself is added, so that intervals stay honest at few decimals. Where rounding pushed
    an eigenvalue below zero the diagonal is raised by just that.
    """
    digits = covariance_decimals(decimals)
    honest = (cov + cov.T) / 2 + np.eye(len(theta)) * _rounding_variance(theta, decimals)
    grid = np.round(honest, digits)
    while (lowest := float(np.linalg.eigvalsh(grid).min(initial=0.0))) < 0.0 and -lowest > 1e-16 * np.trace(grid):
        step = 10.0**-digits
        grid = np.round(grid + np.eye(len(theta)) * step * np.ceil(-lowest / step), digits)
    return np.round(theta, decimals), grid


def _rounding_variance(theta: Floats, decimals: int) -> Floats:
    moved = np.round(theta, decimals) != theta
    return np.asarray(np.where(moved, 10.0 ** (-2 * decimals) / 12, 0.0))
