"""The robust rules against the papers' formulas on whole arrays, and what they must withstand."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.optimize import minimize
from scipy.stats import trim_mean

from federation_hub.aggregation.fold import Update, fold
from federation_hub.aggregation.rules import Sites
from federation_hub.aggregation.rules.coordinates import coordinate_median, trimmed_mean
from silo_node.wire.strategies import (
    Bulyan,
    CentredClipping,
    Combination,
    CoordinateMedian,
    FLTrust,
    GeometricMedian,
    Krum,
    MultiKrum,
    NormClipping,
    TrimmedMean,
    sites_needed,
)
from tests.unit.aggregation.files import write

WEIGHTS = (5, 1, 2, 9, 4, 3, 7, 2)
ROOT = "silo-00000003"
Oracle = Callable[[np.ndarray], np.ndarray]


def combined(
    folder: Path, rows: np.ndarray, rule: Combination, order: list[int] | None = None, block_values: int = 1 << 15
) -> np.ndarray:
    """Return what a rule makes of updates that are rows of values, through files of two tensors each."""
    base = write(folder / "base", {"a": np.zeros(3, np.float32), "b": np.zeros((rows.shape[1] - 3, 1), np.float32)})
    updates = [
        Update(
            f"silo-{place:08}",
            write(folder / f"u{place}", {"a": rows[place, :3], "b": rows[place, 3:, None].copy()}),
            WEIGHTS[place % len(WEIGHTS)],
        )
        for place in (order or range(len(rows)))
    ]
    fold(base, updates, folder / "new", robust=rule, block_values=block_values)
    found = load_file(folder / "new")
    return np.concatenate([found["a"], found["b"].ravel()])


def made_up(sites: int = 8, values: int = 20, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(sites, values)) + rng.normal(size=values)).astype(np.float32)


def krum_by_the_book(rows: np.ndarray, liars: int) -> list[float]:
    """The paper's score: the sum over the ``n - f - 2`` nearest others of the squared distance."""
    scores = []
    for place, row in enumerate(rows):
        others = [float(np.sum((row - other) ** 2)) for index, other in enumerate(rows) if index != place]
        scores.append(sum(sorted(others)[: max(1, len(rows) - liars - 2)]))
    return scores


def multi_krum(rows: np.ndarray) -> np.ndarray:
    best = np.argsort(krum_by_the_book(rows, 2))[: len(rows) - 4]
    return rows[best].mean(axis=0)


def bulyan(rows: np.ndarray) -> np.ndarray:
    left, picked = list(range(len(rows))), []
    while len(picked) < len(rows) - 2:
        picked.append(left.pop(int(np.argmin(krum_by_the_book(rows[left], 1)))))
    columns = []
    for column in rows[picked].T:
        median = np.median(column)
        columns.append(np.mean(sorted(column, key=lambda value: abs(value - median))[: len(rows) - 4]))
    return np.array(columns)


def geometric_median(rows: np.ndarray) -> np.ndarray:
    def distance_sum(point: np.ndarray) -> float:
        return float(np.linalg.norm(rows - point, axis=1).sum())

    found: np.ndarray = minimize(distance_sum, rows.mean(axis=0), tol=1e-10).x
    return found


def centred_clipping(rows: np.ndarray) -> np.ndarray:
    point = np.zeros(rows.shape[1])
    for _ in range(3):
        point = point + np.mean([(row - point) * min(1, 3 / np.linalg.norm(row - point)) for row in rows], axis=0)
    return point


def norm_clipping(rows: np.ndarray) -> np.ndarray:
    clipped = [row * min(1, 4 / np.linalg.norm(row)) for row in rows]
    return np.average(clipped, axis=0, weights=WEIGHTS)


def fltrust(rows: np.ndarray) -> np.ndarray:
    root = rows[3]
    norm = np.linalg.norm(root)
    trust = np.array([max(0, row @ root / np.linalg.norm(row) / norm) for row in rows])
    return np.sum([t * norm / np.linalg.norm(row) * row for t, row in zip(trust, rows, strict=True)], 0) / trust.sum()


RULES: list[tuple[Combination, Oracle]] = [
    (CoordinateMedian(), lambda rows: np.median(rows, axis=0)),
    (TrimmedMean(liars=2), lambda rows: trim_mean(rows, 2 / 8, axis=0)),
    (GeometricMedian(steps=1000, smoothing=1e-9), geometric_median),
    (CentredClipping(radius=3.0), centred_clipping),
    (NormClipping(radius=4.0), norm_clipping),
    (Krum(liars=2), lambda rows: rows[int(np.argmin(krum_by_the_book(rows, 2)))]),
    (MultiKrum(liars=2), multi_krum),
    (Bulyan(liars=1), bulyan),
    (FLTrust(root=ROOT), fltrust),
]
NAMED = pytest.mark.parametrize(("rule", "oracle"), RULES, ids=[rule.name for rule, _ in RULES])


@NAMED
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equals_the_papers_formula(tmp_path: Path, rule: Combination, oracle: Oracle, seed: int) -> None:
    rows = made_up(seed=seed)
    expected = oracle(rows.astype(np.float64))
    tolerance = 1e-4 if rule.name == "geometric_median" else 1e-6
    np.testing.assert_allclose(combined(tmp_path, rows, rule), expected, rtol=tolerance, atol=tolerance)


@NAMED
def test_same_bytes_in_any_order_and_block_size(tmp_path: Path, rule: Combination, oracle: Oracle) -> None:
    rows = made_up(seed=4)
    straight = combined(tmp_path, rows, rule)
    assert straight.tobytes() == combined(tmp_path, rows, rule, [5, 0, 7, 2, 1, 6, 4, 3], block_values=3).tobytes()


@NAMED
def test_updates_that_agree_are_kept_as_they_are(tmp_path: Path, rule: Combination, oracle: Oracle) -> None:
    """Nobody lies and nobody differs: the update comes out, unless it is longer than a clipping radius."""
    rows = np.tile(made_up(sites=1)[0] / 10, (8, 1))
    tolerance = 0.5 if rule.name == "centred_clipping" else 1e-6
    np.testing.assert_allclose(combined(tmp_path, rows, rule), rows[0], atol=tolerance)


ROBUST = [rule for rule, _ in RULES if hasattr(rule, "liars") and rule.name != "centred_clipping"]


@pytest.mark.parametrize("rule", ROBUST, ids=[rule.name for rule in ROBUST])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_as_many_liars_as_assumed_cannot_pull_the_model_away(rule: Combination, data: st.DataObject) -> None:
    """With the fewest sites allowed, liars who agree on a far point leave the result near the honest ones."""
    liars = getattr(rule, "liars", 0)
    rows = made_up(sites=sites_needed(rule), seed=data.draw(st.integers(0, 99)))
    honest = rows[liars:].astype(np.float64)
    spread = max(float(np.linalg.norm(a - b)) for a, b in combinations(honest, 2))
    rows[:liars] = honest.mean(axis=0) + data.draw(st.sampled_from([10.0, 1e4, 1e9])) * made_up(1, seed=7)[0]
    rows = rows[data.draw(st.permutations(range(len(rows))))]
    with TemporaryDirectory() as name:
        found = combined(Path(name), rows, rule)
    # The coordinate-wise rules stay in the honest range of every value; the others within a few spreads.
    assert np.linalg.norm(found - honest.mean(axis=0)) <= 4 * spread


def test_one_liar_pulls_the_plain_mean_anywhere(tmp_path: Path) -> None:
    """The reason for the other rules, and a check that the attack above is one."""
    rows = made_up()
    rows[0] = 1e6
    fold_of = combined(tmp_path, rows, NormClipping(radius=1e12))
    assert np.all(np.abs(fold_of) > 1e5)


def test_centred_clipping_moves_no_further_than_its_radius_a_step(tmp_path: Path) -> None:
    rows = made_up()
    rows[:] = 1e6
    assert np.linalg.norm(combined(tmp_path, rows, CentredClipping(radius=2.0, steps=3))) <= 6.001


def test_a_rule_refuses_fewer_updates_than_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs 7 updates"):
        combined(tmp_path, made_up(sites=6), Krum(liars=2))


@given(st.integers(1, 17), st.data())
@settings(max_examples=60, deadline=None)
def test_a_network_of_comparisons_puts_what_is_asked_in_its_place(count: int, data: st.DataObject) -> None:
    """Against numpy's sort, with equal values and noughts of both signs, for every number of sites and every cut."""
    values = st.lists(st.sampled_from([-2.0, -0.0, 0.0, 1.0, 3.5]), min_size=count * 5, max_size=count * 5)
    table = np.array(data.draw(values), np.float32).reshape(count, 5)
    before, cut = table.copy(), data.draw(st.integers(0, (count - 1) // 2))
    rule = trimmed_mean(TrimmedMean(liars=cut)) if cut else None
    if rule is not None:
        out = np.empty(5)
        rule.prepare(Sites(tuple(map(str, range(count))), (1,) * count, np.empty((0, 0))))(list(table), out)
        assert np.allclose(out, np.sort(table.astype(np.float64), axis=0)[cut : count - cut].mean(axis=0), rtol=1e-15)
    middle = np.empty(5)
    median = coordinate_median().prepare(Sites(tuple(map(str, range(count))), (1,) * count, np.empty((0, 0))))
    median(list(table), middle)
    assert np.array_equal(middle, np.median(table.astype(np.float64), axis=0))
    assert np.array_equal(table, before), "the updates are only read"
