"""All sites' estimates of one metric as one table, models by sites."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.statistics.arrays import Booleans, Floats, Integers
from benchmarks.statistics.blocks import Entry, Group, Moments, SiteBlock
from benchmarks.statistics.quantities import publishes
from benchmarks.statistics.rules import MetricRule


@dataclass(frozen=True, slots=True, eq=False)
class SiteCovariance:
    """The covariance (k, k) between some models, ``members`` (k,), at one site."""

    site: int
    members: Integers
    cov: Floats


@dataclass(frozen=True, slots=True, eq=False)
class MetricTable:
    """Estimates ``theta`` (m, s), NaN where a site has not reported a model, with variances and cases of that cell.

    Models that a site reported in different blocks have no known covariance there; it is taken as nought, which makes
    their difference less certain than it is, for models err on the same cases.
    """

    rule: MetricRule
    models: tuple[str, ...]
    sites: tuple[str, ...]
    theta: Floats
    variance: Floats
    cases: Floats
    covariances: tuple[SiteCovariance, ...]

    @property
    def present(self) -> Booleans:
        return np.isfinite(self.theta)

    def cross_covariances(self) -> Iterator[Floats]:
        """Yield for each model its covariance (m, s) with every model at every site.

        Most sites report the same models together, so what they say of a model is written for all of them at once.
        """
        together: dict[bytes, list[SiteCovariance]] = {}
        for block in self.covariances:
            together.setdefault(block.members.tobytes(), []).append(block)
        holding: list[list[tuple[Any, Floats]]] = [[] for _ in self.models]
        for blocks in together.values():
            cells = np.ix_(blocks[0].members, np.array([block.site for block in blocks]))
            stacked = np.stack([block.cov for block in blocks], axis=-1)
            for row, member in enumerate(blocks[0].members):
                holding[member].append((cells, stacked[row]))
        for parts in holding:
            cross = np.zeros(self.theta.shape)
            for cells, values in parts:
                cross[cells] = values
            yield cross

    def select(self, models: Booleans, sites: Booleans) -> "MetricTable":
        """Return the table of some models and sites."""
        if models.all() and sites.all():
            return self
        new_model, new_site = np.cumsum(models) - 1, np.cumsum(sites) - 1
        kept = []
        for block in self.covariances:
            inside = models[block.members]
            if sites[block.site] and inside.any():
                members = new_model[block.members[inside]]
                kept.append(SiteCovariance(int(new_site[block.site]), members, block.cov[np.ix_(inside, inside)]))
        cells = np.ix_(models, sites)
        return MetricTable(
            rule=self.rule,
            models=tuple(model for model, keep in zip(self.models, models, strict=True) if keep),
            sites=tuple(site for site, keep in zip(self.sites, sites, strict=True) if keep),
            theta=self.theta[cells],
            variance=self.variance[cells],
            cases=self.cases[cells],
            covariances=tuple(kept),
        )


@publishes(
    "per_site",
    "missing_sites",
    "sites",
    "cases",
    "shown_sites",
    "metrics",
    "labels",
    "subgroups",
    title="Hospital by hospital",
    formula="θ_s and its 95% interval from the hospital's own variance; nothing is filled in",
    source="Wilson 1927; delta method on the logit scale",
    words=(
        "What each hospital reported of each model, with its own interval, for all cases, each class or "
        "structure and each declared group of patients."
    ),
)
def metric_table(
    blocks: Sequence[SiteBlock], models: Sequence[str], rule: MetricRule, *, label: str, group: Group = None
) -> MetricTable:
    """Gather one metric of one entry from all blocks.

    Sites are sorted by id. Where a site's blocks repeat a model, the block finished last counts.
    """
    sites = sorted({block.site for block in blocks})
    place = {model: index for index, model in enumerate(models)}
    theta = np.full((len(models), len(sites)), np.nan)
    variance, cases = np.full_like(theta, np.nan), np.full_like(theta, np.nan)
    covariances = []
    for block in sorted(blocks, key=lambda block: (block.finished, block.digest), reverse=True):
        entry, site = block.entries.get((group, label)), sites.index(block.site)
        if entry is None or rule.name not in entry.metrics or not place:
            continue
        listed = np.array([place.get(model, -1) for model in block.models])
        own = np.flatnonzero((listed >= 0) & np.isnan(theta[listed, site]))
        members, moments = listed[own], entry.metrics[rule.name]
        theta[members, site] = moments.theta[own]
        cov = moments.cov[np.ix_(own, own)] + np.diag(_boundary_variance(entry, block, rule, moments)[own])
        variance[members, site], cases[members, site] = np.diag(cov), _cases(block, entry)
        covariances.append(SiteCovariance(site, members, cov))
    return MetricTable(rule, tuple(models), tuple(sites), theta, variance, cases, tuple(covariances))


def _cases(block: SiteBlock, entry: Entry) -> int:
    if entry.positives is None or entry.negatives is None:
        return block.cases
    return entry.positives + entry.negatives


def _boundary_variance(entry: Entry, block: SiteBlock, rule: MetricRule, moments: Moments) -> Floats:
    """What an estimate at the end of its range lacks to the variance of half an event.

    A model that is perfect on 40 cases, or fails on all, shows no variance there, and is still not certain.
    """
    trials, classes = block.patients, 1
    if rule.name == "auroc" and entry.positives and entry.negatives:
        # The event is a discordant pair, and one pair moves the placement values of both classes.
        trials, classes = entry.positives * entry.negatives, 2
    share = 0.5 / (trials + 1)
    least = classes * share * (1 - share) / (trials + 1) * rule.upper**2
    at_end = (moments.theta <= 0) | (moments.theta >= rule.upper)
    return np.where(at_end, np.maximum(0.0, least - np.diag(moments.cov)), 0.0)
