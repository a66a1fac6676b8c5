"""The snapshot: recomputable to the byte, and what it may show."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.statistics.blocks import SiteBlock, site_block
from benchmarks.statistics.estimate import estimate_body
from benchmarks.statistics.leaderboard import ModelEntry, build_leaderboard
from benchmarks.statistics.pooling import confidence_interval, pool
from benchmarks.statistics.rules import BenchmarkRules

from .made_up import BINARY, SEGMENTATION, measured, model_digest, rules_of, scored, simple_block, whole_block

RULES = rules_of(BINARY)
MODELS = [ModelEntry(model_digest(index), name) for index, name in enumerate(["delta", "alpha", "charlie", "bravo"])]
THETA = np.array(
    [[0.93, 0.92, 0.80, 0.55], [0.90, 0.91, 0.78, 0.52], [0.94, 0.93, 0.82, 0.50], [0.92, 0.92, 0.79, 0.53]]
)


def blocks(theta: np.ndarray = THETA, **options: Any) -> list[SiteBlock]:
    return [simple_block(site, row, **options) for site, row in enumerate(theta)]


def board(
    found: list[SiteBlock], *, rules: BenchmarkRules = RULES, models: list[ModelEntry] = MODELS, **options: Any
) -> dict[str, Any]:
    return build_leaderboard(rules, found, models, **{"seed": 7, "draws": 2000} | options)


def row(found: dict[str, Any], name: str) -> dict[str, Any]:
    one: dict[str, Any] = next(row for row in found["rows"] if row["name"] == name)
    return one


class TestRecomputable:
    def test_the_same_inputs_give_the_same_bytes(self) -> None:
        first, second = (json.dumps(board(blocks()), sort_keys=True) for _ in range(2))
        assert first == second

    def test_the_order_of_sites_and_models_does_not_matter(self) -> None:
        reordered = board(blocks()[::-1], models=MODELS[::-1])
        assert json.dumps(reordered) == json.dumps(board(blocks()))

    def test_it_names_its_inputs_its_code_and_its_seed(self) -> None:
        found = board(blocks())
        assert [one["block"] for one in found["inputs"]] == [block.digest for block in blocks()]
        assert found["seed"] == 7
        assert found["code"]["statistics"]
        assert found["benchmark"]["digest"] == RULES.digest

    def test_it_is_json_without_nan(self) -> None:
        json.dumps(board(blocks()), allow_nan=False)
        json.dumps(board([]), allow_nan=False)


class TestRows:
    def test_the_estimate_is_the_pooled_one(self) -> None:
        found, theta = row(board(blocks()), "charlie"), THETA[:, 2]
        pooled = pool(theta, np.full(4, 0.02**2))
        low, high = confidence_interval(pooled, upper=1.0, size=800)
        assert found["estimate"] == pytest.approx(theta.mean(), abs=1e-6)
        assert [found["low"], found["high"]] == pytest.approx([float(low), float(high)], abs=1e-6)
        assert (found["sites"], found["cases"]) == (4, 800)

    def test_tied_models_share_a_range_and_stand_by_name(self) -> None:
        found = board(blocks())
        assert [(one["name"], one["rank"]) for one in found["rows"]] == [
            ("alpha", "1-2"),
            ("delta", "1-2"),
            ("charlie", "3"),
            ("bravo", "4"),
        ]

    def test_the_worst_site_and_the_gap_are_shown(self) -> None:
        found = row(board(blocks(), named_sites=["silo-00000001"]), "charlie")
        assert found["worst_site"]["site"] == "silo-00000001"
        assert found["worst_site"]["estimate"] == 0.78
        assert found["worst_site"]["low"] < 0.78 < found["worst_site"]["high"]
        assert found["gap"] == pytest.approx(0.04)

    def test_a_model_under_the_floor_at_any_site_is_marked(self) -> None:
        found = board(blocks(np.vstack([THETA[:3], [0.9, 0.69, 0.8, 0.5]])))
        assert {one["name"]: one["below_floor"] for one in found["rows"]} == {
            "alpha": True,
            "bravo": True,
            "charlie": False,
            "delta": False,
        }

    def test_secondary_metrics_have_the_same_summary(self) -> None:
        found = blocks(extra={"brier": np.array([0.1, 0.11, 0.15, 0.25])})
        brier = row(board(found), "alpha")["metrics"]["brier"]
        assert brier["estimate"] == pytest.approx(0.11)
        assert brier.keys() >= {"low", "high", "prediction", "heterogeneity", "worst_site", "case_weighted"}

    def test_case_weights_move_the_case_weighted_estimate_only(self) -> None:
        found = [simple_block(site, r, cases=2000 if site == 1 else 200) for site, r in enumerate(THETA)]
        one = row(board(found), "charlie")
        assert one["estimate"] == pytest.approx(THETA[:, 2].mean(), abs=1e-6)
        expected = np.average(THETA[:, 2], weights=[200, 2000, 200, 200])
        assert one["case_weighted"]["estimate"] == pytest.approx(expected, abs=1e-6)

    def test_certainty_and_sensitivity_agree_with_a_clear_order(self) -> None:
        found = board(blocks(extra={"brier": np.array([0.1, 0.12, 0.15, 0.25])}))
        assert row(found, "alpha")["probability_best"] + row(found, "delta")["probability_best"] == pytest.approx(
            1, abs=0.01
        )
        assert row(found, "bravo")["rank_interval"] == {"low": 4, "high": 4}
        assert [rule["rule"] for rule in found["sensitivity"]] == [
            "site_equal",
            "case_weighted",
            "mean_of_ranks",
            "brier",
        ]
        assert all(one["rules_within"] == one["rules"] == 4 for one in found["rows"])

    def test_every_pair_is_listed_once_with_its_interval(self) -> None:
        found = board(blocks())["pairs"]
        assert len(found) == 6
        assert all(pair["low"] <= pair["difference"] <= pair["high"] for pair in found)
        assert sum(pair["separated"] for pair in found) == 5

    def test_structures_are_shown_beside_their_mean(self) -> None:
        rules = rules_of(SEGMENTATION)
        found = [
            site_block(
                whole_block(
                    estimate_body(measured(90, seed=seed), rules, rng=np.random.default_rng(0)), models=3, site=seed
                ),
                digest=f"block {seed}",
            )
            for seed in range(3)
        ]
        one = board(found, rules=rules, models=MODELS[:3])["rows"][0]
        assert one["labels"].keys() == {"anterior", "posterior"}
        parts = [one["labels"][label]["dice"]["estimate"] for label in one["labels"]]
        assert one["estimate"] == pytest.approx(np.mean(parts), abs=2e-4)
        assert one["metrics"]["hd95"]["high"] > one["metrics"]["hd95"]["estimate"]

    def test_subgroups_need_three_sites(self) -> None:
        found = [
            site_block(
                whole_block(
                    estimate_body(scored(400, seed=seed), RULES, rng=np.random.default_rng(0)), models=3, site=seed
                ),
                digest=f"block {seed}",
            )
            for seed in range(3)
        ]
        names = [site.site for site in found]
        three = board(found, models=MODELS[:3])["rows"][0]["subgroups"]
        assert {(one["attribute"], one["level"]) for one in three} >= {("sex", "f"), ("sex", "m")}
        assert board(found[:2], models=MODELS[:3], named_sites=names)["rows"][0]["subgroups"] == []


class TestPublication:
    def test_a_sites_own_result_is_shown_only_if_it_said_yes(self) -> None:
        snapshot = board(blocks(), named_sites=["silo-00000002"])
        found = row(snapshot, "charlie")
        assert snapshot["shown_sites"] == ["silo-00000002"]
        assert found["per_site"]["sites"] == [0]
        assert [len(column) for column in found["per_site"].values()] == [1] * 5
        assert found["worst_site"]["site"] is None

    def test_too_few_sites_give_no_numbers(self) -> None:
        """Of one site the pooled number is the site's own; of two, each could take its own away."""
        found = board(blocks(THETA[:2]))
        assert {one["status"] for one in found["rows"]} == {"withheld"}
        assert not any("estimate" in one for one in found["rows"])
        assert "too-few-sites" in found["notes"]
        assert found["pairs"] == found["sensitivity"] == []

    def test_unless_all_of_them_said_yes(self) -> None:
        found = row(board(blocks(THETA[:2]), named_sites=["silo-00000000", "silo-00000001"]), "charlie")
        assert found["estimate"] == pytest.approx(0.79)
        assert found["scope"] == "these_sites"
        assert found["prediction"] is None
        assert found["heterogeneity"] is None
        assert found["per_site"]["estimate"] == []

    def test_a_model_at_too_few_sites_is_withheld_alone(self) -> None:
        gaps = [
            simple_block(site, r, models=[0, 1, 2, 3][: len(r)]) for site, r in enumerate([*THETA[:2], *THETA[2:, :3]])
        ]
        found = board(gaps)
        assert row(found, "bravo")["status"] == "withheld"
        assert {one["name"] for one in found["rows"] if one["status"] == "ranked"} == {"alpha", "charlie", "delta"}
        assert len(found["pairs"]) == 3

    def test_a_model_nobody_reported_is_awaited(self) -> None:
        found = board(blocks(), models=[*MODELS, ModelEntry(model_digest(9), "echo", baseline=True)])
        assert row(found, "echo") == {
            "model": model_digest(9),
            "name": "echo",
            "baseline": True,
            "status": "awaiting",
            "reason": "too-few-sites",
            "sites": 0,
        }


class TestMissingCells:
    FOUND = [
        simple_block(site, r if site < 3 else r[:3], models=None if site < 3 else [0, 1, 2])
        for site, r in enumerate(THETA)
    ]

    def test_a_model_that_lacks_a_site_is_compared_and_not_imputed(self) -> None:
        found = board(self.FOUND)
        one = row(found, "bravo")
        assert (one["status"], one["missing_sites"], one["sites"]) == ("compared", ["silo-00000003"], 3)
        assert one["estimate"] == pytest.approx(THETA[:3, 3].mean(), abs=1e-6)
        assert one["probability_best"] is None
        assert (one["rank"], found["sites_compared"]) == ("4", 4)
        assert "missing-cells" in found["notes"]

    def test_its_pairs_are_over_the_common_sites(self) -> None:
        sites = {frozenset((pair["a"], pair["b"])): pair["sites"] for pair in board(self.FOUND)["pairs"]}
        assert sites[frozenset((model_digest(0), model_digest(3)))] == 3
        assert sites[frozenset((model_digest(0), model_digest(1)))] == 4


def test_two_blocks_for_one_cell_count_once_and_the_later_one() -> None:
    """Whatever the order they lie in; a site is one hospital however often it reports."""
    later = simple_block(0, [0.5, 0.5, 0.5, 0.5], finished="2027")
    found = row(board([*blocks(), later]), "charlie")
    assert found == row(board([later, *blocks()]), "charlie")
    assert found["sites"] == 4
    assert found["estimate"] == pytest.approx((0.5 + THETA[1:, 2].sum()) / 4, abs=1e-6)


def test_ten_thousand_entries_make_a_board() -> None:
    """Those that hospitals reported are ranked; the rest are listed as awaited, without numbers."""
    many = [ModelEntry(model_digest(index), f"model {index}") for index in range(10_000)]
    found = board(blocks(), models=many)
    assert len(found["rows"]) == 10_000
    assert sum(one["status"] == "ranked" for one in found["rows"]) == 4
    assert {one["status"] for one in found["rows"][4:]} == {"awaiting"}


def test_sites_where_everything_is_undefined_make_a_board_without_numbers() -> None:
    """And without an error: the entry has no metric, so there is nothing to pool."""
    empty = [
        replace(block, entries={key: replace(entry, metrics={}) for key, entry in block.entries.items()})
        for block in blocks()
    ]
    found = board(empty)
    assert {one["status"] for one in found["rows"]} == {"awaiting"}
    assert (found["sites"], found["pairs"], found["kendall_tau"]) == (0, [], None)


def test_a_site_that_reported_no_listed_model_counts_for_nothing() -> None:
    found = board([*blocks(), simple_block(9, [0.9], models=[7])])
    assert (found["sites"], found["cases"]) == (4, 800)
    assert [one["missing_sites"] for one in found["rows"]] == [[]] * 4
