"""The leaderboard as one JSON object: a pure function of blocks, models and a seed, so that anyone can recompute it.

The same inputs give the same bytes, in whatever order sites and models come. What is ranked is the primary metric of
the ranked entry: the positive class of a binary benchmark, else the mean over classes or structures.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import scipy

from benchmarks.statistics import VERSION
from benchmarks.statistics.arrays import Booleans
from benchmarks.statistics.blocks import SiteBlock
from benchmarks.statistics.moments import MetricTable, metric_table
from benchmarks.statistics.pooling import ESTIMABLE_SITES
from benchmarks.statistics.ranking import DRAWS, comparison_set, rank_distribution
from benchmarks.statistics.rows import FULL_COMPARISON, Board, ModelEntry, ranked_rows, unranked_rows
from benchmarks.statistics.rules import BenchmarkRules, MetricRule
from benchmarks.statistics.sensitivity import rule_orders
from benchmarks.statistics.summaries import Publication, Summary, number, shown_sites
from benchmarks.statistics.ties import compare, standings

__all__ = ["ModelEntry", "build_leaderboard"]


def build_leaderboard(
    rules: BenchmarkRules,
    blocks: Sequence[SiteBlock],
    models: Collection[ModelEntry],
    *,
    seed: int,
    named_sites: Collection[str] = (),
    pseudonymous_sites: Collection[str] = (),
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Return the leaderboard snapshot.

    ``blocks`` have passed ``validate.refusal``; ``named_sites`` are the sites that let their own results be shown,
    ``pseudonymous_sites`` those that do so as long as ``site`` is a pseudonym and enough others stand beside it. A
    model whose sites are fewer than the benchmark's limit is listed as ``withheld``, without numbers, unless all of
    them may be named; a model no site has reported is ``awaiting``. Keys: see ``docs/explanation/statistics.md``.
    """
    listed = tuple(sorted(models))
    digests = [model.digest for model in listed]
    blocks = [block for block in blocks if not set(digests).isdisjoint(block.models)]
    full = metric_table(blocks, digests, rules.primary, label=rules.ranked_label)
    named, pseudonymous = (
        np.array([site in known for site in full.sites], bool) for known in (named_sites, pseudonymous_sites)
    )
    publication = Publication(rules.limits.minimum_sites, named, pseudonymous)
    shown = publication.pooled(full.present)
    board = _board(rules, blocks, listed, full, shown, publication, seed=seed, draws=draws)
    return {
        "format": "leaderboard/2",
        "benchmark": {"name": rules.name, "version": rules.version, "digest": rules.digest},
        "metric": _metric(rules.primary) | {"label": rules.ranked_label},
        "code": {"statistics": VERSION, "numpy": np.__version__, "scipy": scipy.__version__},
        "seed": seed,
        "draws": draws,
        "inputs": sorted(({"site": b.site, "block": b.digest} for b in blocks), key=lambda one: sorted(one.values())),
        "models": len(listed),
        "sites": int(full.present.any(axis=0).sum()),
        "sites_compared": int(board.common.sum()),
        "cases": int(sum(_cases_at(full, site) for site in range(len(full.sites)))),
        "notes": _notes(full, shown, board),
        "shown_sites": list(shown_sites(board.table, publication)),
        "kendall_tau": number(board.ranks.kendall_tau) if board.ranks else None,
        "rows": [*ranked_rows(board, blocks), *unranked_rows(listed, full, shown)],
        "pairs": _pairs(board),
        "sensitivity": _sensitivity(board),
    }


def _board(
    rules: BenchmarkRules,
    blocks: Sequence[SiteBlock],
    listed: tuple[ModelEntry, ...],
    full: MetricTable,
    shown: Booleans,
    publication: Publication,
    *,
    seed: int,
    draws: int,
) -> Board:
    models = tuple(model for model, show in zip(listed, shown, strict=True) if show)
    table = full.select(shown, np.ones(len(full.sites), dtype=bool))
    comparisons = compare(table, tellable=publication.named, minimum_sites=publication.minimum_sites)
    complete, common = comparison_set(table.present)
    together = table.select(complete, common)
    metrics = {
        rule.name: metric_table(blocks, table.models, rule, label=rules.ranked_label)
        for rule in rules.metrics
        if not rule.primary
    }
    secondary = {name: metric.select(complete, common) for name, metric in metrics.items()}
    ranked = complete.any()
    return Board(
        rules=rules,
        models=models,
        table=table,
        metrics=metrics,
        publication=publication,
        complete=complete,
        common=common,
        comparisons=comparisons,
        standings=standings(comparisons, [f"{model.name}\0{model.digest}" for model in models]),
        orders=rule_orders(together, secondary) if ranked else [],
        ranks=rank_distribution(together, seed=seed, draws=draws) if ranked else None,
    )


def _pairs(board: Board) -> list[Summary]:
    """The differences in the order of the rows, the model further up first."""
    found, order = board.comparisons, [one.model for one in board.standings]
    every = len(order) <= FULL_COMPARISON
    return [
        {
            "a": board.models[a].digest,
            "b": board.models[b].digest,
            "difference": number(found.difference[a, b]),
            "low": number(found.low[a, b]),
            "high": number(found.high[a, b]),
            "p_adjusted": number(found.adjusted[a, b]),
            "separated": bool(found.ahead[a, b] or found.ahead[b, a]),
            "sites": int(found.sites[a, b]),
            "scope": "new_sites" if found.sites[a, b] >= ESTIMABLE_SITES else "these_sites",
        }
        for place, a in enumerate(order)
        for b in (order[place + 1 :] if every or place == 0 else order[place + 1 : place + 2])
        if found.sites[a, b]
    ]


def _sensitivity(board: Board) -> list[Summary]:
    """The order of the models under each rule, and its Kendall tau with the rule of the board."""
    ranked = [model for model, complete in zip(board.models, board.complete, strict=True) if complete]
    return [
        {
            "rule": order.rule,
            "kendall_tau": number(order.kendall_tau),
            "ranks": {model.digest: int(rank) for model, rank in zip(ranked, order.ranks, strict=True)},
        }
        for order in board.orders
    ]


def _notes(full: MetricTable, shown: Booleans, board: Board) -> list[str]:
    """Codes of what a reader must know before trusting the table."""
    rows = board.table.present
    sizes = {block.site: 0 for block in full.covariances}
    for block in full.covariances:
        sizes[block.site] += 1
    notes = {
        "too-few-sites": bool((full.present.any(axis=1) & ~shown).any()),
        "missing-cells": bool((~board.complete).any() or not rows[:, board.common].all()),
        "some-sites-not-compared": bool(rows.any(axis=0).sum() > board.common.sum()),
        "covariance-between-blocks-unknown": any(count > 1 for count in sizes.values()),
        "not-estimable": bool(rows.any() and (rows.sum(axis=1) < ESTIMABLE_SITES).any()),
    }
    return [note for note, holds in notes.items() if holds]


def _cases_at(full: MetricTable, site: int) -> float:
    cases = full.cases[:, site]
    return float(np.nanmax(cases)) if np.isfinite(cases).any() else 0.0


def _metric(rule: MetricRule) -> Summary:
    return {"name": rule.name, "direction": rule.direction, "floor": rule.floor, "upper": rule.upper}
