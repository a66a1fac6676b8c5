"""Curves from merged counts: the true curve is always inside the band."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.statistics.blocks import ModelTables, site_block
from benchmarks.statistics.classification import OneVersusRest
from benchmarks.statistics.curves import (
    ScoreCounts,
    auroc_bounds,
    calibration,
    model_curves,
    precision_recall,
    roc,
    score_counts,
)
from benchmarks.statistics.estimate import estimate_body
from benchmarks.statistics.histogram import score_tables

from .made_up import BINARY, model_digest, rules_of, scored, whole_block


def made_up_site(seed: int, *, n: int = 300) -> tuple[np.ndarray, np.ndarray, ModelTables]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    scores = np.round(np.where(positive, rng.beta(4, 2, n), rng.beta(2, 4, n)) * 4096) / 4096
    view = OneVersusRest(positive, np.arange(n), scores[None], (scores >= 0.5)[None])
    tables = score_tables(view, 0, (), minimum=10, decimals=4)
    renamed = {f"calibration_{name}": value for name, value in tables.calibration.items()}
    return scores, positive, ModelTables(**tables.histogram, **renamed)


SITES = [made_up_site(seed) for seed in range(4)]
SCORES, POSITIVE = (np.concatenate([site[part] for site in SITES]) for part in (0, 1))


def pooled() -> ScoreCounts:
    counts = [score_counts(site[2]) for site in SITES]
    return counts[0] + counts[1] + counts[2] + counts[3]


def test_the_true_rates_lie_within_the_band() -> None:
    for point in roc(pooled())[1:]:
        flagged = point["threshold"] <= SCORES
        tpr, fpr = flagged[POSITIVE].mean(), flagged[~POSITIVE].mean()
        assert point["tpr_low"] - 1e-6 <= tpr <= point["tpr_high"] + 1e-6
        assert point["fpr_low"] - 1e-6 <= fpr <= point["fpr_high"] + 1e-6
        assert point["tpr_low"] <= point["tpr"] <= point["tpr_high"]
        assert point["fpr_low"] <= point["fpr"] <= point["fpr_high"]


def test_the_curve_runs_from_one_corner_to_the_other() -> None:
    points = roc(pooled())
    assert points[0]["tpr_high"] == points[0]["fpr_high"] == 0.0
    assert points[-1]["tpr_low"] == points[-1]["fpr_low"] == 1.0


def test_the_true_area_lies_within_its_bounds() -> None:
    area, low, high = auroc_bounds(pooled())
    truth = roc_auc_score(POSITIVE, SCORES)
    assert low <= truth <= high
    assert area == pytest.approx(truth, abs=0.05)
    assert high - low < 0.2


def test_the_true_precision_lies_within_its_band() -> None:
    for point in precision_recall(pooled())[1:]:
        flagged = point["threshold"] <= SCORES
        assert point["precision_low"] - 1e-6 <= POSITIVE[flagged].mean() <= point["precision_high"] + 1e-6
        assert point["recall_low"] - 1e-6 <= flagged[POSITIVE].mean() <= point["recall_high"] + 1e-6


def test_pooled_calibration_is_that_of_all_cases() -> None:
    bins = calibration([site[2] for site in SITES])
    assert len(bins) >= 3
    lower = 0.0
    for one in bins:
        inside = (lower <= SCORES) & ((one["upper"] > SCORES) | (one["upper"] == 1.0))
        assert one["count"] == inside.sum()
        assert one["score"] == pytest.approx(SCORES[inside].mean(), abs=1e-4)
        assert one["observed"] == pytest.approx(POSITIVE[inside].mean(), abs=1e-6)
        assert one["low"] <= one["observed"] <= one["high"]
        lower = one["upper"]


class TestPublication:
    BLOCKS = [
        site_block(
            whole_block(
                estimate_body(scored(300, seed=seed), rules_of(BINARY), rng=np.random.default_rng(0)),
                models=3,
                site=seed,
            ),
            digest=f"block {seed}",
        )
        for seed in range(3)
    ]

    def test_three_sites_make_a_curve(self) -> None:
        curves = model_curves(self.BLOCKS, rules_of(BINARY), model_digest(0))
        assert curves["ill"]["sites"] == 3
        assert curves["ill"]["positives"] + curves["ill"]["negatives"] == 900

    def test_two_sites_do_not_unless_both_may_be_named(self) -> None:
        two, sites = self.BLOCKS[:2], frozenset(block.site for block in self.BLOCKS[:2])
        assert model_curves(two, rules_of(BINARY), model_digest(0)) == {}
        assert model_curves(two, rules_of(BINARY), model_digest(0), named_sites=sites)["ill"]["sites"] == 2

    def test_a_model_nobody_reported_has_none(self) -> None:
        assert model_curves(self.BLOCKS, rules_of(BINARY), model_digest(9)) == {}
