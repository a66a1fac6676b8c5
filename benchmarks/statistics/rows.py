"""The rows of a leaderboard as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.arrays import Booleans, Integers
from benchmarks.statistics.blocks import SiteBlock
from benchmarks.statistics.moments import MetricTable, metric_table
from benchmarks.statistics.pooling import ESTIMABLE_SITES
from benchmarks.statistics.quantities import publishes
from benchmarks.statistics.ranking import RankDistribution
from benchmarks.statistics.rules import BenchmarkRules, MetricRule
from benchmarks.statistics.sensitivity import RuleOrder, rules_within
from benchmarks.statistics.summaries import Publication, Summary, number, per_site, summaries
from benchmarks.statistics.tables import model_tables, told_of
from benchmarks.statistics.ties import Comparisons, Standing, rank_text

FULL_COMPARISON = 60
"""Up to so many models all pairs are listed, and how often each took each rank; beyond, each with the first and with
its neighbour."""


@dataclass(frozen=True, slots=True, order=True)
class ModelEntry:
    """A model on the board. ``baseline`` marks a reference; it is ranked like any other."""

    digest: str
    name: str
    baseline: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """The models that may be shown, with the table they are ranked by."""

    rules: BenchmarkRules
    models: tuple[ModelEntry, ...]
    table: MetricTable
    metrics: Mapping[str, MetricTable]
    """The same of every other metric of the ranked entry."""

    publication: Publication
    complete: Booleans
    common: Booleans
    comparisons: Comparisons
    standings: list[Standing]
    orders: list[RuleOrder]
    ranks: RankDistribution | None

    def place(self, model: int) -> int | None:
        """The model's place among those ranked together."""
        return int(self.complete[:model].sum()) if self.complete[model] else None


def ranked_rows(board: Board, blocks: Sequence[SiteBlock]) -> list[Summary]:
    """Return the rows of the models with numbers, by tie group and inside a group by name."""
    primary = summaries(board.table, board.publication)
    metrics = {name: summaries(table, board.publication) for name, table in board.metrics.items()}
    labels = _label_summaries(board, blocks)
    subgroups = _subgroup_summaries(board, blocks)
    failed, sites = _failed(board, blocks), per_site(board.table, board.publication)
    told = told_of(blocks, board.table.models, named_sites=_named(board))
    return [
        {
            "model": board.models[one.model].digest,
            "name": board.models[one.model].name,
            "baseline": board.models[one.model].baseline,
            "status": "ranked" if board.complete[one.model] else "compared",
            "rank": rank_text(one.low, one.high),
            "rank_low": one.low,
            "rank_high": one.high,
            "tie_group": one.group,
            **_certainty(board, one),
            **(primary[one.model] or {}),
            "failed": failed[one.model],
            "missing_sites": _missing(board.table, one.model),
            "metrics": {name: found[one.model] for name, found in metrics.items()},
            "labels": {label: {name: found[one.model] for name, found in by.items()} for label, by in labels.items()},
            "subgroups": [group | summary for group, found in subgroups if (summary := found[one.model])],
            "tables": model_tables(told[board.models[one.model].digest], board.rules),
            "per_site": sites[one.model],
        }
        for one in board.standings
    ]


def _named(board: Board) -> set[str]:
    return {site for site, named in zip(board.table.sites, board.publication.named, strict=True) if named}


def _certainty(board: Board, one: Standing) -> Summary:
    """What the draws say; None for a model that lacks a site the others are ranked on."""
    place = board.place(one.model)
    if place is None or board.ranks is None:
        names = ("probability_best", "probability_top3", "rank_interval", "rank_draws", "rules_within", "rules")
        return dict.fromkeys(names)
    ranks = board.ranks
    return {
        "probability_best": number(ranks.best[place]),
        "probability_top3": number(ranks.top3[place]),
        "rank_interval": {"low": int(ranks.low[place]), "high": int(ranks.high[place])},
        "rank_draws": _rank_draws(ranks.counts[place]) if len(ranks.best) <= FULL_COMPARISON else None,
        "rules_within": rules_within(board.orders, place, one.low, one.high),
        "rules": len(board.orders),
    }


def _rank_draws(counts: Integers) -> Summary:
    """How many draws gave a model each rank, from the best rank it had to the worst."""
    had = np.flatnonzero(counts)
    return {"first": int(had[0]) + 1, "counts": counts[had[0] : had[-1] + 1].tolist()}


def unranked_rows(listed: tuple[ModelEntry, ...], full: MetricTable, shown: Booleans) -> list[Summary]:
    """Models without numbers, by name: no site has reported them, or too few to show."""
    rest = [
        {
            "model": model.digest,
            "name": model.name,
            "baseline": model.baseline,
            "status": "withheld" if present.any() else "awaiting",
            "reason": "too-few-sites",
            "sites": int(present.sum()),
        }
        for model, present, show in zip(listed, full.present, shown, strict=True)
        if not show
    ]
    return sorted(rest, key=lambda row: (row["name"], row["model"]))


def _table(board: Board, blocks: Sequence[SiteBlock], rule: MetricRule, label: str) -> MetricTable:
    return metric_table(blocks, board.table.models, rule, label=label)


def _label_summaries(board: Board, blocks: Sequence[SiteBlock]) -> dict[str, dict[str, list[Summary | None]]]:
    """Every metric of each class or structure, where the ranked entry is a mean over several."""
    if board.rules.binary:
        return {}
    return {
        label: {
            rule.name: summaries(_table(board, blocks, rule, label), board.publication) for rule in board.rules.metrics
        }
        for label in board.rules.reported_labels
    }


def _subgroup_summaries(board: Board, blocks: Sequence[SiteBlock]) -> list[tuple[Summary, list[Summary | None]]]:
    """The primary metric in each subgroup that at least three sites report for a model."""
    groups = sorted({group for block in blocks for group, _ in block.entries if group is not None})
    nobody = np.zeros(len(board.table.sites), dtype=bool)
    gate = Publication(max(ESTIMABLE_SITES, board.rules.limits.minimum_sites), nobody)
    found = []
    for group in groups:
        label, rule = board.rules.ranked_label, board.rules.primary
        table = metric_table(blocks, board.table.models, rule, label=label, group=group)
        found.append(({"attribute": group[0], "level": group[1]}, summaries(table, gate)))
    return found


@publishes(
    "failed",
    title="Failed cases",
    formula="Σ_s failed_s",
    source="Maier-Hein et al. 2018",
    words="How many cases had no usable answer; each took the worst score and none was left out.",
)
def _failed(board: Board, blocks: Sequence[SiteBlock]) -> list[int]:
    """How many cases each model has failed on, over the blocks its numbers come from."""
    counts: dict[str, dict[str, int]] = {model: {} for model in board.table.models}
    for block in sorted(blocks, key=lambda block: (block.finished, block.digest)):
        for model, failed in zip(block.models, block.failed, strict=True):
            if model in counts:
                counts[model][block.site] = failed
    return [sum(by_site.values()) for by_site in counts.values()]


def _missing(table: MetricTable, model: int) -> list[str]:
    return [site for site, present in zip(table.sites, table.present[model], strict=True) if not present]
