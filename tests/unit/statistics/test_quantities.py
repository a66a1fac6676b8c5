"""Nothing is published that is not explained: the methods page has an entry for each number of a leaderboard."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks.statistics.blocks import site_block
from benchmarks.statistics.curves import model_curves
from benchmarks.statistics.estimate import estimate_body
from benchmarks.statistics.leaderboard import ModelEntry, build_leaderboard
from benchmarks.statistics.quantities import by_key, quantities
from benchmarks.statistics.rules import DIRECTIONS
from tests.unit.statistics.made_up import (
    BINARY,
    SEGMENTATION,
    measured,
    model_digest,
    rules_of,
    scored,
    whole_block,
)

NAMES = {"format", "benchmark", "metric", "code", "seed", "inputs", "models", "notes", "sites_compared", "version"}
NAMES |= {
    "model",
    "name",
    "baseline",
    "status",
    "reason",
    "rule",
    "a",
    "b",
    "site",
    "block",
    "scope",
    "first",
    "counts",
}
NAMES |= {"rows", "pairs", "tables", "attribute", "level", "count", "positives", "negatives", "upper", "score"}
NAMES |= {"observed", "tpr", "fpr"}
"""What names something, and columns of a table or a curve whose own name is explained."""


def keys(value: Any, *, inside: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if inside not in ("metrics", "labels", "ranks", "tables", "benchmark", "code", "metric"):
                yield key
            yield from keys(inner, inside=key if inside != "labels" else "metrics")
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


@pytest.mark.parametrize("definition", [BINARY, SEGMENTATION], ids=["classification", "segmentation"])
def test_every_number_of_a_leaderboard_is_explained(definition: dict[str, Any]) -> None:
    """In words, with a formula, a source and the function that computes it."""
    light = definition | {"metrics": definition["metrics"][:1]}
    rules = rules_of(light)
    blocks = []
    for site in range(3):
        cases = scored(400, seed=site) if rules.binary else measured(90, seed=site)
        body = estimate_body(cases, rules, rng=np.random.default_rng(site))
        blocks.append(site_block(whole_block(body, models=3, site=site), digest=f"blake3:{site:064x}"))
    models = [ModelEntry(model_digest(index), f"model {index}") for index in range(3)]
    board = build_leaderboard(rules, blocks, models, seed=1, named_sites=[block.site for block in blocks], draws=200)
    curves = model_curves(blocks, rules, model_digest(2))
    told = {key for part in (board, *curves.values()) for key in keys(part)}
    bounds = {f"{name}_{side}" for name in ("tpr", "fpr", "recall", "precision") for side in ("low", "high")}
    assert told - NAMES - bounds - set(rules.reported_labels) <= by_key().keys()
    assert {"estimate", "per_site", "p_adjusted", "rank_draws", "worst_site"} <= told


def test_every_metric_there_is_is_explained() -> None:
    """A metric without an entry could not be read."""
    assert by_key().keys() >= DIRECTIONS.keys()


def test_an_entry_says_what_how_and_from_where() -> None:
    """And no two entries claim one name."""
    entries = quantities()
    names = [key for entry in entries for key in entry.keys]
    assert len(set(names)) == len(names)
    for entry in entries:
        assert len(entry.words) > 20, entry.title
        assert entry.formula, entry.title
        assert any(year.isdecimal() for year in entry.source.replace(";", " ").replace(",", " ").split()), entry.title
