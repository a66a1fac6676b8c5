"""Attacks do what their papers say they do, to the number."""

import numpy as np
import pytest

from federation_hub.aggregation.attacks import (
    ATTACKS,
    Knowledge,
    a_little_is_enough,
    add_trigger,
    flip_labels,
    inside_the_radius,
    krum_attack,
    min_max,
    min_sum,
    scaling,
    trim_attack,
)

RANDOM = np.random.default_rng(5)


def known(liars: int = 2, honest: int = 9, values: int = 30, pull: float = 1.0) -> Knowledge:
    rng = np.random.default_rng(1)
    centre = pull * rng.normal(size=values)
    return Knowledge(
        honest=centre + 0.5 * rng.normal(size=(honest, values)),
        own=centre + 0.5 * rng.normal(size=(liars, values)),
        last_change=centre,
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gives_a_finite_update_for_each_liar(name: str) -> None:
    found = ATTACKS[name](known(), np.random.default_rng(0))
    assert found.shape == known().own.shape
    assert np.isfinite(found).all()


def test_the_krum_attack_is_what_krum_picks() -> None:
    """By brute force over the paper's score; and it points away from where honest sites go."""
    state = known(pull=0.1)
    found = krum_attack(state, RANDOM)
    rows = np.vstack([found, state.honest])
    scores = [np.sort(((row - rows) ** 2).sum(axis=1))[1 : len(rows) - state.liars - 1].sum() for row in rows]
    assert int(np.argmin(scores)) < state.liars
    assert found[0] @ state.honest.mean(axis=0) < 0


def test_min_max_and_min_sum_sit_on_the_edge_of_what_honest_sites_do() -> None:
    state = known()
    apart = ((state.honest[:, None] - state.honest[None]) ** 2).sum(axis=2)
    furthest = ((min_max(state, RANDOM)[0] - state.honest) ** 2).sum(axis=1).max()
    together = ((min_sum(state, RANDOM)[0] - state.honest) ** 2).sum(axis=1).sum()
    assert furthest == pytest.approx(apart.max(), rel=1e-4)
    assert together == pytest.approx(apart.sum(axis=1).max(), rel=1e-4)


def test_the_trim_attack_lies_outside_every_honest_value() -> None:
    state = known()
    found = trim_attack(state, RANDOM)
    outside = (found <= state.honest.min(axis=0)) | (found >= state.honest.max(axis=0))
    assert outside.all()


def test_alie_deviates_as_far_as_the_papers_example() -> None:
    """With 50 sites of which 24 lie, 2 more are needed and z is the quantile at 24/26."""
    state = known(liars=24, honest=26)
    deviation = (state.honest.mean(axis=0) - a_little_is_enough(state, RANDOM)[0]) / state.honest.std(axis=0)
    np.testing.assert_allclose(deviation, 1.426, atol=1e-3)


def test_the_adaptive_attack_is_as_long_as_the_shortest_honest_update() -> None:
    state = known()
    found = np.linalg.norm(inside_the_radius(state, RANDOM)[0])
    assert found == pytest.approx(np.linalg.norm(state.honest, axis=1).min())


def test_scaling_outweighs_every_other_site_in_a_mean() -> None:
    """The liars' share of a plain mean becomes their own update whole."""
    state = known()
    assert scaling(state, RANDOM).sum(axis=0) / state.sites == pytest.approx(state.own.mean(axis=0))


def test_attacks_on_data_leave_the_original_alone() -> None:
    labels, features = np.array([0, 1, 2]), np.zeros((3, 4))
    assert flip_labels(labels, 3).tolist() == [2, 1, 0]
    assert add_trigger(features)[:, -1].tolist() == [4.0] * 3
    assert not features.any()
