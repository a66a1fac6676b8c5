"""What a site sends: valid on the wire, undefined with a reason where it must be, and nothing of any case."""

import json
from typing import Any

import numpy as np
import pytest

from benchmarks.statistics.cases import MeasuredCases, ScoredCases
from benchmarks.statistics.classification import one_versus_rest
from benchmarks.statistics.delong import auroc
from benchmarks.statistics.estimate import (
    classification_estimates,
    estimate_body,
    segmentation_estimates,
    subgroup_estimates,
)
from benchmarks.statistics.rules import DIRECTIONS, BenchmarkRules
from benchmarks.statistics.segmentation import clustered_mean
from silo_node.wire.benchmarks import METRICS
from silo_node.wire.errors import PROBLEMS
from silo_node.wire.estimates import ClassEstimates, EstimateBlock, StructureEstimates, SubgroupEstimates

from .made_up import BINARY, SEGMENTATION, SEVERAL, measured, rules_of, scored, whole_block


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def metric(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return next(metric for metric in entry["metrics"] if metric["metric"] == name)


def test_the_metrics_are_the_wires() -> None:
    assert {name: direction for name, (_, direction) in METRICS.items()} == DIRECTIONS


@pytest.mark.parametrize(
    ("cases", "rules"),
    [
        (scored(300, failing=0.02, images=2), rules_of(BINARY)),
        (scored(30, prevalence=0.1), rules_of(BINARY)),
        (scored(300, classes=3), rules_of(SEVERAL)),
        (measured(120, failing=0.05), rules_of(SEGMENTATION)),
        (measured(10), rules_of(SEGMENTATION)),
    ],
    ids=["binary", "too few", "several classes", "segmentation", "too few cases"],
)
def test_the_block_is_valid_on_the_wire(cases: ScoredCases | MeasuredCases, rules: BenchmarkRules) -> None:
    body = estimate_body(cases, rules, rng=rng())
    block = EstimateBlock.model_validate_json(json.dumps(whole_block(body, models=3)))
    for kind, entries in (
        (ClassEstimates, body["classes"]),
        (StructureEstimates, body["structures"]),
        (SubgroupEstimates, body["subgroups"]),
    ):
        for entry in entries:
            kind.model_validate(entry)
    reasons = {found.reason for part in (*block.classes, *block.structures) for found in part.metrics if found.reason}
    assert reasons <= PROBLEMS.keys()


class TestBinary:
    def test_one_entry_for_the_positive_class(self) -> None:
        cases = scored(200)
        (entry,) = classification_estimates(cases, rules_of(BINARY), rng=rng())
        assert (entry["label"], entry["positives"]) == ("ill", int((cases.cohort.label == 1).sum()))

    def test_the_estimates_are_delongs_rounded(self) -> None:
        cases = scored(200)
        view = one_versus_rest(cases, 1)
        parts = auroc(view.ranking, view.positive, view.patient)
        found = metric(classification_estimates(cases, rules_of(BINARY), rng=rng())[0], "auroc")
        np.testing.assert_allclose(found["theta"], parts.theta, atol=5e-5)
        np.testing.assert_allclose(found["cov"], parts.cov, atol=2e-9)

    @pytest.mark.parametrize(
        ("prevalence", "reason"), [(0.05, "too-few-positives"), (0.95, "too-few-negatives"), (0.0, "too-few-positives")]
    )
    def test_a_small_or_absent_class_is_undefined_with_a_reason(self, prevalence: float, reason: str) -> None:
        """Never NaN, and neither the class sizes nor any table is told."""
        (entry,) = classification_estimates(scored(100, prevalence=prevalence), rules_of(BINARY), rng=rng())
        assert {(found["status"], found["reason"]) for found in entry["metrics"]} == {("undefined", reason)}
        assert (entry["positives"], entry["negatives"]) == (None, None)
        assert not any(entry[name] for name in ("operating_points", "histograms", "calibration"))

    def test_many_images_of_few_patients_are_too_few(self) -> None:
        (entry,) = classification_estimates(scored(200, images=20), rules_of(BINARY), rng=rng())
        assert metric(entry, "auroc")["reason"] == "too-few-positives"

    def test_only_declared_metrics_are_sent(self) -> None:
        rules = rules_of(BINARY, metrics=[{"name": "brier", "primary": True}])
        (entry,) = classification_estimates(scored(200), rules, rng=rng())
        assert [found["metric"] for found in entry["metrics"]] == ["brier"]

    def test_another_secret_seed_changes_nothing_but_the_bootstrap(self) -> None:
        cases = scored(200)
        one, other = (
            classification_estimates(cases, rules_of(BINARY), rng=np.random.default_rng(seed))[0] for seed in (1, 2)
        )
        assert metric(one, "auroc") == metric(other, "auroc")
        assert metric(one, "brier")["theta"] == metric(other, "brier")["theta"]
        assert metric(one, "brier")["cov"] != metric(other, "brier")["cov"]


class TestSeveralClasses:
    def test_the_first_entry_is_the_mean_over_classes(self) -> None:
        entries = classification_estimates(scored(400, classes=3), rules_of(SEVERAL), rng=rng())
        assert [entry["label"] for entry in entries] == ["all", "normal", "pneumonia", "effusion"]
        for name in ("auroc", "brier"):
            mean = np.mean([metric(entry, name)["theta"] for entry in entries[1:]], axis=0)
            np.testing.assert_allclose(metric(entries[0], name)["theta"], mean, atol=1.01e-4)

    def test_the_covariance_of_the_mean_is_not_that_of_independent_classes(self) -> None:
        """The same patients are in every class, so it must lie between no and full correlation."""
        entries = classification_estimates(scored(400, classes=3), rules_of(SEVERAL), rng=rng())
        parts = np.sqrt([metric(entry, "auroc")["cov"][0][0] for entry in entries[1:]])
        whole = np.sqrt(metric(entries[0], "auroc")["cov"][0][0])
        assert np.sqrt((parts**2).sum()) / 3 < whole < parts.sum() / 3

    def test_a_rare_class_leaves_the_mean_undefined(self) -> None:
        """A mean over the other classes would be another number."""
        rare = scored(300, classes=3, prevalence=0.03)
        entries = classification_estimates(rare, rules_of(SEVERAL), rng=rng())
        assert metric(entries[0], "auroc")["reason"] == "too-few-positives"
        assert [entry["positives"] is None for entry in entries[1:]] == [False, True, True]


class TestSegmentation:
    def test_the_first_entry_is_the_mean_over_structures_within_the_case(self) -> None:
        cases = measured(100)
        entries = segmentation_estimates(cases, rules_of(SEGMENTATION))
        assert [entry["label"] for entry in entries] == ["all", "anterior", "posterior"]
        theta, cov = clustered_mean(cases.values["dice"].mean(axis=2), cases.cohort.patient)
        np.testing.assert_allclose(metric(entries[0], "dice")["theta"], theta, atol=5e-5)
        np.testing.assert_allclose(metric(entries[0], "dice")["cov"], cov, atol=2e-9)

    def test_few_patients_are_undefined(self) -> None:
        entries = segmentation_estimates(measured(60, images=6), rules_of(SEGMENTATION))
        assert {found["reason"] for entry in entries for found in entry["metrics"]} == {"too-few-cases"}
        assert all(entry["empty_reference"] is None for entry in entries)

    def test_quantiles_need_fifty_patients(self) -> None:
        for n, told in ((49, False), (50, True)):
            entries = segmentation_estimates(measured(n), rules_of(SEGMENTATION))
            assert all(bool(entry["quantiles"]) is told for entry in entries)

    def test_a_failure_lowers_the_mean(self) -> None:
        whole, failing = (
            segmentation_estimates(measured(100, failing=share), rules_of(SEGMENTATION)) for share in (0, 0.1)
        )
        assert metric(failing[0], "dice")["theta"][0] < metric(whole[0], "dice")["theta"][0] - 0.03
        assert metric(failing[0], "hd95")["theta"][0] > metric(whole[0], "hd95")["theta"][0] + 1


def test_subgroups_carry_metrics_and_no_tables() -> None:
    found = subgroup_estimates(scored(600), rules_of(BINARY), rng=rng())
    estimated = [subgroup for subgroup in found if subgroup["status"] == "estimated"]
    assert {subgroup["level"] for subgroup in estimated} == {"f", "m", "ge"}
    for subgroup in estimated:
        (entry,) = subgroup["classes"]
        assert metric(entry, "auroc")["status"] == "estimated"
        assert not any(entry[name] for name in ("operating_points", "histograms", "calibration"))


def test_no_value_of_a_case_is_in_the_block() -> None:
    """Case and patient ids, and score vectors, have no place to go."""
    text = json.dumps(estimate_body(scored(300), rules_of(BINARY), rng=rng()))
    assert "case0" not in text
    assert "patient0" not in text
    assert max(len(array) for array in _arrays(json.loads(text))) <= 32


def _arrays(value: Any) -> list[list[Any]]:
    if isinstance(value, dict):
        return [array for item in value.values() for array in _arrays(item)]
    return [value] + [array for item in value for array in _arrays(item)] if isinstance(value, list) else []
