"""Whom a site listens to: the rules by the papers' formulas, and the mixing of files."""

from collections.abc import Callable
from math import exp, inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from torch import nn

from pipelines.errors import PipelineError
from pipelines.job import Mixing, Neighbourhood
from pipelines.neighbours.mixing import mix, trained_model
from pipelines.neighbours.rules import Balance, Gossip, SelfCentredClipping, Surroundings, Ubar, observed_gamma
from pipelines.networks import Arrays, to_arrays


def around(*distances: float, own: float = 10.0, progress: float = 0.5, **losses: object) -> Surroundings:
    return Surroundings(np.array(distances), own, progress, **losses)


def network(seed: int) -> nn.Module:
    made = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    random = np.random.default_rng(seed)
    for parameter in made.parameters():
        parameter.data = parameter.data.new_tensor(random.normal(size=tuple(parameter.shape)))
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Arrays], Path]:
    def written(arrays: Arrays) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        save_file(arrays, path)
        return path

    return written


def test_balance_accepts_within_a_radius_of_its_own_length_that_shrinks() -> None:
    """Fang et al. 2024: ``|wi - wj| <= gamma * exp(-kappa * t / T) * |wi|``, then half own, half the accepted."""
    radius = 0.3 * exp(-0.5) * 10
    pulls = Balance(0.3).pulls(around(radius * 0.999, radius * 1.001, 0.0, inf))
    assert pulls.tolist() == [0.25, 0, 0.25, 0]
    assert Balance(0.3).pulls(around(5.0)).tolist() == [0]


def test_gossip_is_the_mean_without_what_is_not_finite() -> None:
    assert Gossip().pulls(around(1.0, inf)).tolist() == [1 / 3, 0]


def test_ubar_takes_of_the_nearest_those_that_do_no_worse() -> None:
    seen = around(1.0, 2.0, 3.0, 9.0, own_loss=1.0, losses=np.array([2.0, 0.5, 1.0, 0.1]))
    assert Ubar(honest=0.75).pulls(seen).tolist() == [0, 0.25, 0.25, 0]
    worse = around(1.0, 2.0, own_loss=0.1, losses=np.array([2.0, 0.5]))
    assert Ubar(honest=0.9).pulls(worse).tolist() == [0, 0.5]
    with pytest.raises(ValueError, match="loss"):
        Ubar(0.5).pulls(around(1.0))


def test_clipping_moves_nobody_further_than_the_honest_are() -> None:
    """He et al. 2022 with one liar among three: ``tau ** 2`` is the sum over the two nearest."""
    seen = around(3.0, 4.0, 1000.0)
    moved = SelfCentredClipping(liars=1).pulls(seen) * seen.distances
    assert moved == pytest.approx([0.75, 1.0, 5 / 4])


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=9), st.floats(100, 1e9))
def test_a_liar_cannot_move_the_observed_gamma_beyond_the_honest_ones(honest: list[float], lie: float) -> None:
    """Fewer than half: the median of all is at most the largest honest ratio."""
    liars = [lie] * ((len(honest) - 1) // 2)
    assert observed_gamma(np.array(honest + liars), margin=1.0) <= max(honest)


def test_mixing_moves_parameters_and_buffers_towards_those_that_are_heard(write: Callable[[Arrays], Path]) -> None:
    """Distances are over parameters only: a neighbour with other running statistics is not further away."""
    own, near, far = (to_arrays(network(seed)) for seed in (1, 1, 2))
    near["1.running_mean"] = near["1.running_mean"] + 8
    far = {name: array + 100 for name, array in far.items()}
    hood = Neighbourhood(mixing=Mixing(name="balance", gamma=0.3), beside=(write(near), write(far)), progress=0.5)
    mixed, told = mix(own, hood, network(1), lambda arrays: 0.0)
    assert told.pulls == (0.5, 0.0)
    assert np.array_equal(mixed["0.weight"], own["0.weight"])
    assert mixed["1.running_mean"].tolist() == [4, 4]
    assert np.array_equal(trained_model(mixed, None)["0.bias"], mixed["0.bias"])


def test_a_neighbour_that_is_not_finite_is_not_heard_and_one_of_another_shape_is_refused(
    write: Callable[[Arrays], Path],
) -> None:
    own = to_arrays(network(1))
    broken = own | {"0.bias": np.full(2, np.nan, np.float32)}
    hood = Neighbourhood(mixing=Mixing(name="gossip"), beside=(write(broken),), progress=1.0)
    mixed, told = mix(own, hood, network(1), lambda arrays: 0.0)
    assert told.pulls == (0.0,)
    assert all(np.array_equal(mixed[name], own[name]) for name in own)
    other = own | {"0.bias": np.zeros(3, np.float32)}
    with pytest.raises(PipelineError, match="weights-mismatch"):
        mix(own, hood.model_copy(update={"beside": (write(other),)}), network(1), lambda arrays: 0.0)


def test_the_loss_is_asked_for_only_where_a_rule_needs_it(write: Callable[[Arrays], Path]) -> None:
    own = to_arrays(network(1))
    asked: list[Arrays] = []

    def loss(arrays: Arrays) -> float:
        asked.append(arrays)
        return float(len(asked))

    for name, count in (("gossip", 0), ("ubar", 2)):
        hood = Neighbourhood(mixing=Mixing.model_validate({"name": name}), beside=(write(own),), progress=1.0)
        mix(own, hood, network(1), loss)
        assert len(asked) == count
