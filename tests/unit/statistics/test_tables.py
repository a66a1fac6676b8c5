"""Counts of many sites as one number, and what stays untold."""

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from benchmarks.statistics.blocks import SiteBlock, site_block
from benchmarks.statistics.estimate import estimate_body
from benchmarks.statistics.tables import model_tables, told_of
from tests.unit.statistics.made_up import (
    BINARY,
    SEGMENTATION,
    measured,
    model_digest,
    rules_of,
    scored,
    whole_block,
)

SITES = 4
THRESHOLDS = BINARY | {"metrics": [{"name": "auroc", "primary": True}], "subgroups": []}
"""Without the metrics whose covariance is bootstrapped: nothing here is of them."""

WEAKEST = model_digest(2)
"""It errs on enough cases for its counts to be told."""


def blocks_of(task: str) -> tuple[list[SiteBlock], list[dict]]:
    found = []
    for site in range(SITES):
        rng = np.random.default_rng(site)
        cases = scored(500, seed=site) if task == "binary" else measured(90, seed=site, failing=0.02)
        rules = rules_of(THRESHOLDS if task == "binary" else SEGMENTATION)
        found.append(whole_block(estimate_body(cases, rules, rng=rng), models=3, site=site))
    return [site_block(block, digest=f"blake3:{site:064x}") for site, block in enumerate(found)], found


@pytest.fixture(scope="module")
def binary() -> tuple[list[SiteBlock], list[dict]]:
    return blocks_of("binary")


@pytest.fixture(scope="module")
def segmented() -> tuple[list[SiteBlock], list[dict]]:
    return blocks_of("segmentation")


def tables_of(blocks: list[SiteBlock], definition: dict, **named: object) -> dict:
    told = told_of(blocks, [WEAKEST], **named)  # type: ignore[arg-type]
    return model_tables(told[WEAKEST], rules_of(definition))


def test_sensitivity_is_that_of_the_summed_counts_with_statsmodels_wilson_interval(binary: tuple) -> None:
    """Each threshold the benchmark declares has a point; its interval is the score interval or the logit one."""
    blocks, raw = binary
    point = tables_of(blocks, THRESHOLDS)["ill"]["operating_points"][-1]
    cells = [block["classes"][0]["operating_points"][1]["models"][2] for block in raw]
    told = [one for one in cells if not one["suppressed"]]
    hits, misses = (sum(one[name] for one in told) for name in ("true_positive", "false_negative"))
    assert (point["threshold"], point["sites"]) == (0.5, len(told))
    assert point["sensitivity"] == pytest.approx(hits / (hits + misses), abs=1e-6)
    low, high = proportion_confint(hits, hits + misses, method="wilson")
    assert point["sensitivity_low"] == pytest.approx(low, abs=0.01)
    assert point["sensitivity_high"] == pytest.approx(high, abs=0.01)


def test_bias_and_limits_of_agreement_are_those_of_all_cases_together(segmented: tuple) -> None:
    """As if the differences of every hospital lay in one list."""
    blocks, _ = segmented
    differences = []
    for site in range(SITES):
        cases = measured(90, seed=site, failing=0.02)
        kept = ~cases.failed[2]
        differences.append(cases.predicted_ml[2, kept, 0] - cases.reference_ml[kept, 0])
    whole = np.concatenate(differences)
    found = tables_of(blocks, SEGMENTATION)["anterior"]["volume"]
    assert found["cases"] == whole.size
    assert found["bias"] == pytest.approx(whole.mean(), abs=1e-4)
    assert found["high"] == pytest.approx(whole.mean() + 1.96 * whole.std(ddof=1), abs=1e-3)


def test_the_share_of_failures_and_the_quantiles_are_told(segmented: tuple) -> None:
    """A suppressed count leaves its site out of the sum, and the number of sites says so."""
    found = tables_of(segmented[0], SEGMENTATION)["all"]
    assert all(0 <= one["share_low"] <= one["share"] <= one["share_high"] <= 1 for one in found.get("failures", ()))
    dice = found["quantiles"][0]
    assert dice["sites"] == SITES
    values = [dice[f"q{share}"] for share in (10, 25, 50, 75, 90)]
    assert values == sorted(values)


def test_two_sites_sum_to_nothing_unless_both_may_be_named(binary: tuple) -> None:
    """A sum over two would be either's own by subtraction."""
    two = binary[0][:2]
    assert tables_of(two, THRESHOLDS) == {}
    assert "ill" in tables_of(two, THRESHOLDS, named_sites={block.site for block in two})


def test_a_later_block_of_a_site_takes_the_place_of_the_earlier(binary: tuple) -> None:
    """A site counts once."""
    raw = binary[1][0] | {"finished": "2027-01-01T00:00:00Z"}
    again = site_block(raw, digest="blake3:" + "e" * 64)
    before, after = (tables_of(blocks, THRESHOLDS) for blocks in (binary[0], [*binary[0], again]))
    assert before == after


def test_a_model_nobody_reported_has_no_tables(binary: tuple) -> None:
    """And no number that is not finite."""
    told = told_of(binary[0], [model_digest(9)])
    assert model_tables(told[model_digest(9)], rules_of(THRESHOLDS)) == {}
    for table in tables_of(binary[0], THRESHOLDS)["ill"]["operating_points"]:
        assert all(math.isfinite(value) for value in table.values())
