"""A leaderboard as pages, tables and clients read it: frozen values, whatever the snapshot's JSON looks like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from silo_node.wire.benchmarks import Direction


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% interval, both on the metric's own scale; ``None`` where it cannot be estimated."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class SiteValue:
    """One model at one hospital; without a value where the hospital has none, or does not let it be seen."""

    site: str
    estimate: Estimate
    worst: bool = False
    under_floor: bool = False
    cases: int = 0


@dataclass(frozen=True, slots=True)
class Badge:
    """A word about an entry, with an address when there is more to read."""

    text: str
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One model on the board."""

    digest: str
    name: str
    owner: str
    badges: tuple[Badge, ...]
    kind: Literal["submitted", "federated", "baseline"]
    rank: float | None
    rank_low: int
    rank_high: int
    group: int
    """Number of its tie group, 1 for the best; models of one group cannot be told apart."""

    estimate: Estimate
    prediction: tuple[float, float] | None
    first: float | None
    """Probability of being the best, 0 to 1."""

    top_three: float | None
    sites: Sequence[SiteValue]
    worst: SiteValue | None
    best_worst_gap: float | None
    site_count: int
    cases: int
    failed: int = 0
    scope: Literal["new_sites", "these_sites"] = "new_sites"
    """What the interval is about: hospitals like these, or with fewer than three of them these alone."""

    drawn_ranks: tuple[int, int] | None = None
    """The 95% interval of its rank over the draws; the printed range is the wider one of surely better and worse."""

    case_weighted: Estimate = Estimate(None)
    i2: Estimate = Estimate(None)
    """The share of the scatter between hospitals that is more than chance, 0 to 1."""

    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    labels: Mapping[str, Estimate] = field(default_factory=dict)
    """The primary metric of each class or structure, where the ranked number is their mean."""

    subgroups: Mapping[str, Estimate] = field(default_factory=dict)
    rule_ranks: tuple[int | None, ...] = ()
    """Its rank under each of the board's ``rules``."""

    rules_within: int | None = None
    """How many of the rules rank it within its printed range."""

    rank_draws: tuple[int, tuple[int, ...]] | None = None
    """The best rank a draw gave it, and how many draws gave it that rank, the next, and so on; on large boards None."""

    reach: tuple[float, float] | None = None
    """The lowest and the highest value among the sites that are shown, for an axis over all of them."""

    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Pooled counts of each class or structure: ``operating_points``, or ``failures``, ``volume`` and ``quantiles``."""

    @property
    def rank_text(self) -> str:
        return rank_range(self.rank_low, self.rank_high)

    def at(self, site: str) -> SiteValue:
        """Return its value at a hospital; without one where there is none, or none to be seen."""
        return next((found for found in self.sites if found.site == site), SiteValue(site, Estimate(None)))

    @property
    def drawn_text(self) -> str:
        return rank_range(*self.drawn_ranks) if self.drawn_ranks else "–"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models compared on their common hospitals; the difference is first minus second."""

    first: str
    second: str
    difference: Estimate
    p_adjusted: float | None
    sites: int
    apart: bool
    """The adjusted difference excludes zero."""

    digests: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A model without numbers: no hospital has reported it, or too few to show."""

    digest: str
    name: str
    sites: int


@dataclass(frozen=True, slots=True)
class Board:
    """A whole leaderboard; ``sites`` are those whose own values may be seen, ``site_count`` all that reported."""

    metric: str
    direction: Direction
    floor: float | None
    entries: tuple[Entry, ...]
    sites: tuple[str, ...]
    site_count: int
    cases: int
    minimum_sites: int
    waiting: tuple[Waiting, ...] = ()
    rules: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()
    kendall_tau: float | None = None
    blocks: Mapping[str, str] = field(default_factory=dict)
    """The blocks it was computed from by digest, each with its hospital's label."""

    @property
    def ranked(self) -> bool:
        return bool(self.entries)

    @property
    def sites_public(self) -> bool:
        return bool(self.sites)


def rank_range(low: int, high: int) -> str:
    """Return ranks as they are printed: ``2`` or ``1–3``."""
    return str(low) if low == high else f"{low}–{high}"
