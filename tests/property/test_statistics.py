"""What holds of the statistics whatever the data: symmetries, bounds, and that nothing withheld can be worked out."""

import json
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.statistics.blocks import ModelTables
from benchmarks.statistics.cases import Cohort, ExpectedCase, ScoredCases
from benchmarks.statistics.classification import OneVersusRest
from benchmarks.statistics.curves import ScoreCounts, score_counts
from benchmarks.statistics.delong import auroc
from benchmarks.statistics.disclosure import rounded, withheld_classes
from benchmarks.statistics.estimate import estimate_body
from benchmarks.statistics.histogram import BINS, score_tables
from benchmarks.statistics.leaderboard import ModelEntry, build_leaderboard
from benchmarks.statistics.moments import metric_table
from benchmarks.statistics.pooling import bounded_interval, heterogeneity, paule_mandel, pool
from benchmarks.statistics.rules import MetricRule
from benchmarks.statistics.subgroups import reportable_levels
from benchmarks.statistics.ties import compare, standings
from benchmarks.statistics.validate import refusal
from silo_node.wire.estimates import EstimateBlock
from tests.unit.statistics.made_up import BINARY, model_digest, rules_of, scored, simple_block, whole_block

RULES = rules_of(BINARY)
MINIMUM = 10
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
some = settings(max_examples=40, deadline=None)
many = settings(max_examples=100, deadline=None)

site_values = st.integers(3, 6).flatmap(
    lambda sites: hnp.arrays(float, (sites, 4), elements=st.integers(300, 1000).map(lambda value: value / 1000))
)


@st.composite
def views(draw: st.DrawFn) -> OneVersusRest:
    """Scores of one model on few levels, so that ties, empty bins and crowded bins all occur."""
    size = draw(st.integers(40, 160))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([2, 5, 32, 4096]))
    positive = rng.random(size) < draw(st.floats(0.2, 0.8))
    skill = draw(st.floats(0, 4))
    scores = 1 / (1 + np.exp(-(skill * (positive - 0.5) + rng.standard_normal(size))))
    patient = np.arange(size) // draw(st.integers(1, 3))
    return OneVersusRest(positive, patient, np.round(scores[None] * levels) / levels, scores[None] >= 0.5)


def tables_of(view: OneVersusRest) -> ModelTables:
    tables = score_tables(view, 0, (), minimum=MINIMUM, decimals=4)
    renamed = {f"calibration_{name}": value for name, value in tables.calibration.items()}
    return ModelTables(**tables.histogram, **renamed)


class TestDisclosure:
    @some
    @given(views(), st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.51, 0.9]), max_size=3, unique=True))
    def test_no_difference_of_told_counts_is_a_small_number_of_patients(
        self, view: OneVersusRest, thresholds: list[float]
    ) -> None:
        """Take every two cuts that anything is told at, for each class, and subtract."""
        tables = score_tables(view, 0, sorted(thresholds), minimum=MINIMUM, decimals=4)
        told = {cut for cut, point in zip(sorted(thresholds), tables.points, strict=True) if not point["suppressed"]}
        shared = told | {edge / BINS for edge in tables.calibration["upper"][:-1]}
        for name, of_class in (("positives", view.positive), ("negatives", ~view.positive)):
            cuts = shared | {edge / BINS for edge in tables.histogram[f"{name}_upper"][:-1]}
            total = np.unique(view.patient[of_class]).size
            assume(total >= MINIMUM)
            for low, high in combinations([-np.inf, *sorted(cuts), np.inf], 2):
                between = of_class & (view.ranking[0] >= low) & (view.ranking[0] < high)
                patients = np.unique(view.patient[between]).size
                assert patients == 0 or patients >= MINIMUM

    @some
    @given(views())
    def test_every_case_is_in_the_told_counts(self, view: OneVersusRest) -> None:
        """Merged, never dropped."""
        tables = tables_of(view)
        assert sum(tables.positives) == view.positive.sum()
        assert sum(tables.negatives) == (~view.positive).sum()
        assert sum(tables.calibration_count) == view.positive.size

    @many
    @given(st.lists(st.integers(0, 100), min_size=2, max_size=8), st.integers(5, 30))
    def test_withheld_classes_cannot_be_had_from_the_total(self, counts: list[int], minimum: int) -> None:
        """What is missing is two classes or more that add up to the limit, or every class is told or withheld."""
        withheld = withheld_classes(counts, minimum)
        hidden = [count for count, hide in zip(counts, withheld, strict=True) if hide]
        assert all(hide for count, hide in zip(counts, withheld, strict=True) if count < minimum)
        assert not hidden or all(withheld) or (len(hidden) >= 2 and sum(hidden) >= minimum)

    @some
    @given(st.integers(0, 2**32), st.lists(st.integers(0, 60), min_size=2, max_size=4))
    def test_cases_outside_the_reported_levels_are_none_or_enough(self, seed: int, sizes: list[int]) -> None:
        rng = np.random.default_rng(seed)
        levels = np.repeat(np.arange(len(sizes)), sizes)
        labels = rng.integers(0, 2, levels.size)
        cohort = Cohort(
            tuple(
                ExpectedCase(f"c{i}", f"p{i}", int(label), {"maker": f"m{level}" if level else None})
                for i, (label, level) in enumerate(zip(labels, levels, strict=True))
            )
        )
        found = [level for level in reportable_levels(cohort, ["maker"], minimum=20) if level.reported]
        for level in found:
            assert min((labels[level.mask] == 0).sum(), (labels[level.mask] == 1).sum()) >= 20
        rest = ~np.any([level.mask for level in found], axis=0) if found else np.zeros(levels.size, dtype=bool)
        assert all(not rest.any() or (labels[rest] == label).sum() >= 20 for label in np.unique(labels))

    @many
    @given(
        hnp.arrays(float, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(-0.1, 0.1)),
        st.integers(2, 6),
    )
    def test_a_rounded_covariance_is_positive_semi_definite_and_close(self, root: np.ndarray, decimals: int) -> None:
        """Of any rank, so also of equal and constant models."""
        cov, theta = root @ root.T, np.linspace(0.5, 0.9, len(root))
        near, found = rounded(theta, cov, decimals=decimals)
        assert np.linalg.eigvalsh(found).min() >= -1e-15
        assert np.array_equal(found, found.T)
        step = 10.0 ** -(2 * decimals + 2)
        assert (np.diag(found) >= np.diag(cov) - step).all()
        assert np.abs(found - cov).max() <= 10.0 ** (-2 * decimals) / 12 + (len(root) + 2) * step
        assert np.abs(near - theta).max() <= 0.5 * 10.0**-decimals + 1e-12


class TestSymmetry:
    @some
    @given(views(), st.randoms(use_true_random=False))
    def test_auroc_does_not_depend_on_the_order_of_cases(self, view: OneVersusRest, random: Any) -> None:
        assume(min(np.unique(view.patient[part]).size for part in (view.positive, ~view.positive)) > 1)
        order = random.sample(range(view.positive.size), view.positive.size)
        first = auroc(view.ranking, view.positive, view.patient)
        second = auroc(view.ranking[:, order], view.positive[order], view.patient[order])
        np.testing.assert_allclose(first.theta, second.theta)
        np.testing.assert_allclose(first.cov, second.cov, atol=1e-12)

    @some
    @given(views(), st.integers(0, 100))
    def test_the_covariance_of_auroc_is_positive_semi_definite(self, view: OneVersusRest, seed: int) -> None:
        """Also with several images of a patient in both classes."""
        assume(min(np.unique(view.patient[part]).size for part in (view.positive, ~view.positive)) > 1)
        others = np.random.default_rng(seed).random((3, view.positive.size))
        cov = auroc(np.vstack([view.ranking, others]), view.positive, view.patient).cov
        assert np.linalg.eigvalsh(cov).min() > -1e-12

    @some
    @given(views(), views(), views())
    def test_adding_counts_is_associative_and_commutative(
        self, a: OneVersusRest, b: OneVersusRest, c: OneVersusRest
    ) -> None:
        x, y, z = (score_counts(tables_of(view)) for view in (a, b, c))
        for left, right in ((x + y) + z, x + (y + z)), (x + y, y + x):
            assert_equal_counts(left, right)

    @few
    @given(site_values, st.randoms(use_true_random=False))
    def test_the_leaderboard_does_not_depend_on_the_order_of_its_inputs(self, theta: np.ndarray, random: Any) -> None:
        blocks = [simple_block(site, row) for site, row in enumerate(theta)]
        models = [ModelEntry(model_digest(index), f"model {index % 2}") for index in range(4)]
        first = build_leaderboard(RULES, blocks, models, seed=1, draws=200)
        random.shuffle(blocks)
        random.shuffle(models)
        assert json.dumps(build_leaderboard(RULES, blocks, models, seed=1, draws=200)) == json.dumps(first)

    @some
    @given(site_values, st.permutations(range(4)))
    def test_a_models_standing_does_not_depend_on_its_place(self, theta: np.ndarray, order: list[int]) -> None:
        def stand(columns: list[int]) -> dict[str, tuple[int, int, int]]:
            names = [f"model {column}" for column in columns]
            blocks = [simple_block(site, row[columns]) for site, row in enumerate(theta)]
            table = metric_table(blocks, [model_digest(i) for i in range(4)], MetricRule("auroc"), label="ill")
            return {names[one.model]: (one.group, one.low, one.high) for one in standings(compare(table), names)}

        assert stand(list(order)) == stand([0, 1, 2, 3])


class TestBounds:
    @many
    @given(
        st.lists(st.tuples(st.floats(-5, 5), st.floats(1e-4, 2)), min_size=3, max_size=12),
        st.floats(0.1, 10),
        st.floats(-5, 5),
    )
    def test_tau_squared_is_not_negative_and_scales(
        self, sites: list[tuple[float, float]], scale: float, shift: float
    ) -> None:
        y, v = np.array(sites).T
        tau2 = paule_mandel(y, v)
        assert tau2 >= 0
        np.testing.assert_allclose(paule_mandel(scale * y + shift, scale**2 * v), scale**2 * tau2, rtol=1e-5, atol=1e-7)

    @many
    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(1e-6, 0.1)), min_size=3, max_size=12))
    def test_shares_and_intervals_are_ordered(self, sites: list[tuple[float, float]]) -> None:
        found = heterogeneity(*np.array(sites).T)
        assert 0 <= found.tau2_low <= found.tau2 + 1e-9
        assert found.tau2 <= found.tau2_high + 1e-9
        assert 0 <= found.i2_low <= found.i2 + 1e-9
        assert found.i2 <= found.i2_high + 1e-9 <= 1 + 1e-9

    @many
    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.2)), min_size=1, max_size=12), st.floats(1, 200))
    def test_an_interval_holds_its_estimate_and_stays_in_range(
        self, sites: list[tuple[float, float]], upper: float
    ) -> None:
        y, v = np.array(sites).T
        pooled = pool(upper * y, upper**2 * v)
        low, high = bounded_interval(pooled.mean, pooled.se, pooled.quantile, upper=upper, size=100)
        assert 0 <= low <= pooled.mean + 1e-9 * upper
        assert pooled.mean <= high + 1e-9 * upper
        assert high <= upper * (1 + 1e-12)

    @some
    @given(site_values)
    def test_ranks_are_ranks(self, theta: np.ndarray) -> None:
        blocks = [simple_block(site, row) for site, row in enumerate(theta)]
        models = [ModelEntry(model_digest(index), f"model {index}") for index in range(4)]
        rows = build_leaderboard(RULES, blocks, models, seed=1, draws=200)["rows"]
        assert sum(row["probability_best"] for row in rows) >= 1 - 1e-9
        for row in rows:
            assert 1 <= row["rank_low"] <= row["rank_high"] <= 4
            assert row["probability_best"] <= row["probability_top3"] <= 1
            assert row["low"] <= row["estimate"] <= row["high"]
        groups = [row["tie_group"] for row in rows]
        assert groups == sorted(groups)


@few
@given(st.integers(0, 2**32), st.integers(25, 90), st.integers(1, 3), st.floats(0, 0.3), st.floats(0.1, 0.9))
def test_what_an_honest_site_sends_the_hub_accepts(
    seed: int, n: int, images: int, failing: float, prevalence: float
) -> None:
    cases: ScoredCases = scored(n, images=images, failing=failing, prevalence=prevalence, seed=seed)
    block = whole_block(estimate_body(cases, RULES, rng=np.random.default_rng(seed)), models=3)
    whole = EstimateBlock.model_validate_json(json.dumps(block)).model_dump(mode="json")
    assert refusal(whole, RULES) is None


def assert_equal_counts(a: ScoreCounts, b: ScoreCounts) -> None:
    for one, other in ((a.positives, b.positives), (a.negatives, b.negatives)):
        assert np.array_equal(one.starts, other.starts)
        assert np.array_equal(one.ends, other.ends)
        np.testing.assert_allclose(one.below, other.below)
