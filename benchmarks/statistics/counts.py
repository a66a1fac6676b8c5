"""What may be told of how a cohort divides, beside everything that was told of it before.

A table of counts divides the patients into cells. All tables together divide them into finer ones, and whatever is
added to or subtracted from what, the result is a sum of those. So a table may be told if none of the finest cells is
small: no difference of two questions, however far apart, can tell of few.
"""

from collections.abc import Iterable, Mapping, Sequence, Set

from benchmarks.statistics.disclosure import is_small, withheld_classes

Partition = tuple[frozenset[str], ...]
"""Disjoint sets of patients that were told of, each by one number."""

ROUNDING = 5


def told_levels(cells: Mapping[str, Set[str]], minimum: int) -> tuple[tuple[str, ...], Partition]:
    """Return the levels whose counts may be told, and the partition that telling them makes.

    The total is taken as known, so small levels are withheld together with as many more as hide them.
    """
    levels = sorted(cells)
    withheld = withheld_classes([len(cells[level]) for level in levels], minimum)
    told = tuple(level for level, hide in zip(levels, withheld, strict=True) if not hide)
    rest = frozenset().union(*(cells[level] for level, hide in zip(levels, withheld, strict=True) if hide))
    return told, tuple(part for part in (*(frozenset(cells[level]) for level in told), rest) if part)


def tells_of_few(new: Partition, earlier: Iterable[Partition], minimum: int) -> bool:
    """Whether some patients, fewer than ``minimum``, could be worked out from a partition and all earlier ones."""
    places = [{patient: place for place, part in enumerate(parts) for patient in part} for parts in (*earlier, new)]
    atoms: dict[tuple[int | None, ...], int] = {}
    for patient in set().union(*places):
        key = tuple(place.get(patient) for place in places)
        atoms[key] = atoms.get(key, 0) + 1
    return any(is_small(size, minimum) for size in atoms.values())


def rounded_count(count: int) -> int:
    """Return a count to the nearest five."""
    return ROUNDING * round(count / ROUNDING)


def quantile_level(counts: Sequence[tuple[float, str, float]], share: float) -> str | None:
    """Return the level at which a share of all is reached; ``counts`` are (value, level, count), in any order."""
    total, reached = sum(max(count, 0.0) for _, _, count in counts), 0.0
    if total <= 0:
        return None
    for _, level, count in sorted(counts):
        reached += max(count, 0.0)
        if reached >= share * total:
            return level
    return None


def mean_of(counts: Sequence[tuple[float, str, float]]) -> float | None:
    """Return the mean value over (value, level, count); negative noisy counts count as nought."""
    total = sum(max(count, 0.0) for _, _, count in counts)
    return sum(value * max(count, 0.0) for value, _, count in counts) / total if total > 0 else None
