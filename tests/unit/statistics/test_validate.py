"""The hub's check: honest blocks pass, impossible and indiscreet ones are refused with a code."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.statistics.estimate import estimate_body
from benchmarks.statistics.rules import BenchmarkRules
from benchmarks.statistics.validate import refusal
from silo_node.wire.errors import PROBLEMS
from silo_node.wire.estimates import EstimateBlock

from .made_up import BINARY, SEGMENTATION, SEVERAL, measured, rules_of, scored, whole_block

Change = Callable[[dict[str, Any]], None]
RULES = rules_of(BINARY)


def dumped(cases: Any, rules: BenchmarkRules) -> dict[str, Any]:
    block = whole_block(estimate_body(cases, rules, rng=np.random.default_rng(0)), models=3)
    whole: dict[str, Any] = EstimateBlock.model_validate_json(json.dumps(block)).model_dump(mode="json")
    return whole


BINARY_BLOCK = dumped(scored(600), RULES)
SEGMENTATION_BLOCK = dumped(measured(120), rules_of(SEGMENTATION))


@pytest.mark.parametrize("seed", range(3))
def test_honest_blocks_pass(seed: int) -> None:
    """Whatever the size, the clusters, the failures and the number of classes."""
    n, images = (60, 150, 240)[seed], 1 + seed % 2
    for cases, rules in (
        (scored(n, images=images, failing=0.03, seed=seed), RULES),
        (scored(n, classes=3, seed=seed), rules_of(SEVERAL)),
        (measured(n, images=images, failing=0.03, seed=seed), rules_of(SEGMENTATION)),
    ):
        assert refusal(dumped(cases, rules), rules) is None


def test_perfect_and_constant_models_pass() -> None:
    cases = scored(200, models=3)
    cases.scores[0] = np.where(cases.cohort.label[:, None] == [0, 1], 1.0, 0.0)
    cases.scores[1] = 0.5
    assert refusal(dumped(cases, RULES), RULES) is None


def first(block: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = (block["classes"] or block["structures"])[0]
    return entry


def set_cov(value: list[list[float]]) -> Change:
    return lambda block: first(block)["metrics"][0].update(cov=value)


def set_theta(value: list[float]) -> Change:
    return lambda block: first(block)["metrics"][0].update(theta=value)


def add_to_histogram(block: dict[str, Any]) -> None:
    first(block)["histograms"][0]["positives"][0] += 1


def split_bin(block: dict[str, Any]) -> None:
    """One positive in a bin of its own; the sums still agree."""
    histogram = first(block)["histograms"][0]
    upper, counts = histogram["positives_upper"], histogram["positives"]
    place = next(i for i, (a, b) in enumerate(zip([0, *upper], upper, strict=False)) if b - a > 1 and counts[i] > 1)
    upper.insert(place, upper[place] - 1)
    counts[place : place + 1] = [counts[place] - 1, 1]


def tell_small_point(block: dict[str, Any]) -> None:
    entry = first(block)
    counts = {"true_positive": entry["positives"] - 1, "false_negative": 1}
    counts |= {"false_positive": 0, "true_negative": entry["negatives"]}
    entry["operating_points"][0]["models"][0] = {"suppressed": False, **counts}


def shrink_class(block: dict[str, Any]) -> None:
    first(block)["positives"], first(block)["negatives"] = 5, block["cases"] - 5


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (set_cov([[1e-4, 2e-4, 0], [2e-4, 1e-4, 0], [0, 0, 1e-4]]), "estimate-not-psd"),
        (set_cov([[1e-4, 2e-5, 0], [0, 1e-4, 0], [0, 0, 1e-4]]), "estimate-not-psd"),
        (set_cov([[-1e-4, 0, 0], [0, 1e-4, 0], [0, 0, 1e-4]]), "estimate-not-psd"),
        (set_cov([[0.2, 0, 0], [0, 1e-4, 0], [0, 0, 1e-4]]), "estimate-inconsistent"),
        (set_cov([[0, 0, 0], [0, 1e-4, 0], [0, 0, 1e-4]]), "estimate-inconsistent"),
        (set_cov([[1e-7, 0, 0], [0, 1e-4, 0], [0, 0, 1e-4]]), "estimate-inconsistent"),
        (set_theta([1.2, 0.8, 0.8]), "estimate-inconsistent"),
        (set_theta([-0.1, 0.8, 0.8]), "estimate-inconsistent"),
        (lambda block: first(block).update(positives=first(block)["positives"] + 1), "estimate-inconsistent"),
        (lambda block: first(block)["metrics"].pop(), "estimate-inconsistent"),
        (lambda block: first(block).update(label="normal"), "estimate-inconsistent"),
        (lambda block: block.update(patients=block["cases"] + 1), "estimate-inconsistent"),
        (lambda block: block["benchmark"].update(digest="blake3:" + "1" * 64), "estimate-inconsistent"),
        (lambda block: block["failed"].__setitem__(0, block["cases"] + 1), "estimate-inconsistent"),
        (lambda block: block["limits"].update(minimum_cell=5), "estimate-small-cell"),
        (add_to_histogram, "estimate-inconsistent"),
        (split_bin, "estimate-small-cell"),
        (tell_small_point, "estimate-small-cell"),
        (shrink_class, "estimate-small-cell"),
    ],
)
def test_impossible_and_indiscreet_blocks_are_refused(change: Change, code: str) -> None:
    block = copy.deepcopy(BINARY_BLOCK)
    assert refusal(block, RULES) is None
    change(block)
    assert refusal(block, RULES) == code
    assert code in PROBLEMS


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda entry: entry.update(empty_reference=3), "estimate-small-cell"),
        (lambda entry: entry["failures"][0].update(models=[2, 0, 0]), "estimate-small-cell"),
        (lambda entry: entry["volume"][0].update(sum_d=1e6), "estimate-inconsistent"),
        (lambda entry: entry["quantiles"][0]["models"][0].reverse(), "estimate-inconsistent"),
    ],
)
def test_a_segmentations_tables_are_checked(change: Change, code: str) -> None:
    block, rules = copy.deepcopy(SEGMENTATION_BLOCK), rules_of(SEGMENTATION)
    assert refusal(block, rules) is None
    change(block["structures"][1])
    assert refusal(block, rules) == code


def test_what_subgroups_leave_over_must_not_be_small() -> None:
    """A site that reports one sex and hides the other, which is three patients, has not hidden it."""
    block = copy.deepcopy(BINARY_BLOCK)
    kept = next(subgroup for subgroup in block["subgroups"] if subgroup["level"] == "f")
    other = next(subgroup for subgroup in block["subgroups"] if subgroup["level"] == "m")
    kept["classes"][0]["positives"] = first(block)["positives"] - 3
    other.update(status="suppressed", classes=[])
    assert refusal(block, RULES) == "estimate-small-cell"


def test_one_hidden_class_among_several_is_not_hidden() -> None:
    rules = rules_of(SEVERAL)
    block = dumped(scored(300, classes=3), rules)
    block["classes"][1].update(positives=None, negatives=None, operating_points=[], histograms=[], calibration=[])
    assert refusal(block, rules) == "estimate-small-cell"
