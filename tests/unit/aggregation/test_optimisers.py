"""The hub's optimisers against the papers' formulas on whole arrays, and against torch's where it has the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from federation_hub.aggregation.fold import FoldedModel, Update, fold, moment_path
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import IntegrityError
from silo_node.wire.strategies import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi, Strategy
from tests.unit.aggregation.files import small_model, write

SHAPES = {"a.weight": (7, 11), "b": (), "empty": (0, 3), "c": (70,)}
ROUNDS = 5
WEIGHTS = (3, 1, 6)
Second = Callable[[np.ndarray, np.ndarray], np.ndarray]
SECOND_MOMENTS: list[tuple[FedAdagrad | FedAdam | FedYogi, Second]] = [
    (FedAdagrad(learning_rate=0.1, beta1=0.3), lambda v, g: v + g**2),
    (FedAdam(learning_rate=0.1, beta1=0.8, beta2=0.95), lambda v, g: 0.95 * v + 0.05 * g**2),
    (FedYogi(learning_rate=0.1, beta1=0.8, beta2=0.95), lambda v, g: v - 0.05 * g**2 * np.sign(v - g**2)),
]
STRATEGIES = [FedAvg(), FedAvgM(), *(strategy for strategy, _ in SECOND_MOMENTS)]


def changes(number: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(number)
    return [small_model(rng, SHAPES) for _ in WEIGHTS]


def mean_change(number: int, name: str) -> np.ndarray:
    return np.average([change[name].astype(np.float64) for change in changes(number)], axis=0, weights=WEIGHTS)


def run_rounds(
    folder: Path, strategy: Strategy, order: tuple[int, ...] = (0, 1, 2), block_values: int = 1 << 15
) -> list[FoldedModel]:
    """Fold some rounds one after the other, each from the files the last one left; the model is ``folder/1`` on."""
    folder.mkdir(exist_ok=True)
    base = write(folder / "0", small_model(np.random.default_rng(99), SHAPES))
    moments: dict[str, Path] = {}
    folded = []
    for number in range(1, ROUNDS + 1):
        updates = [
            Update(f"silo-{place}", write(folder / f"u{place}", changes(number)[place]), WEIGHTS[place])
            for place in order
        ]
        out = folder / str(number)
        folded.append(fold(base, updates, out, strategy=strategy, moments=moments, block_values=block_values))
        base, moments = out, {name: moment_path(out, name) for name in folded[-1].moments}
    return folded


@pytest.mark.parametrize(("strategy", "second"), SECOND_MOMENTS, ids=lambda value: getattr(value, "name", ""))
def test_adaptive_optimisers_follow_the_paper(
    tmp_path: Path, strategy: FedAdagrad | FedAdam | FedYogi, second: Second
) -> None:
    """Algorithm 2 of Reddi et al. on whole float64 arrays; the moments in between are kept in float32."""
    run_rounds(tmp_path / "run", strategy)
    for name, start in small_model(np.random.default_rng(99), SHAPES).items():
        x, m, v = start.astype(np.float64), np.zeros(start.shape), np.full(start.shape, strategy.adaptivity**2)
        for number in range(1, ROUNDS + 1):
            g = mean_change(number, name)
            m = strategy.beta1 * m + (1 - strategy.beta1) * g
            v = second(v, g)
            x = x + strategy.learning_rate * m / (np.sqrt(v) + strategy.adaptivity)
        np.testing.assert_allclose(load_file(tmp_path / "run" / str(ROUNDS))[name], x, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("strategy", "made"),
    [
        (
            FedAvgM(learning_rate=0.5, momentum=0.7),
            lambda values: torch.optim.SGD(values, lr=0.5, momentum=0.7),
        ),
        (
            FedAdagrad(learning_rate=0.2, beta1=0.0, adaptivity=1e-2),
            lambda values: torch.optim.Adagrad(values, lr=0.2, initial_accumulator_value=1e-4, eps=1e-2),
        ),
    ],
    ids=["fedavgm", "fedadagrad"],
)
def test_equals_torch_with_the_change_as_its_gradient(
    tmp_path: Path, strategy: Strategy, made: Callable[[list[torch.Tensor]], torch.optim.Optimizer]
) -> None:
    """Where torch has the same optimiser, both give the same model."""
    run_rounds(tmp_path / "run", strategy)
    found = load_file(tmp_path / "run" / str(ROUNDS))
    for name, start in small_model(np.random.default_rng(99), SHAPES).items():
        values = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        optimiser = made([values])
        for number in range(1, ROUNDS + 1):
            values.grad = torch.tensor(-mean_change(number, name), dtype=torch.float64)
            optimiser.step()
        np.testing.assert_allclose(found[name], values.detach().numpy(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_model_and_moments_are_the_same_bytes_in_any_order_and_block_size(tmp_path: Path, strategy: Strategy) -> None:
    straight = run_rounds(tmp_path / "straight", strategy)
    assert run_rounds(tmp_path / "shuffled", strategy, (2, 0, 1), block_values=13) == straight


def test_each_moment_is_addressed_by_the_digest_of_its_file(tmp_path: Path) -> None:
    last = run_rounds(tmp_path / "run", FedAdam())[-1]
    assert set(last.moments) == {"first", "second"}
    for name, digest in last.moments.items():
        assert digest == digest_bytes(moment_path(tmp_path / "run" / str(ROUNDS), name).read_bytes())


def test_plain_averaging_keeps_nothing(tmp_path: Path) -> None:
    assert run_rounds(tmp_path / "run", FedAvg())[-1].moments == {}


def test_moments_of_another_model_are_refused(tmp_path: Path) -> None:
    """A moment whose shapes are not the model's cannot be its moment; nothing is written."""
    base = write(tmp_path / "base", {"w": np.ones(4, np.float32)})
    other = write(tmp_path / "other", {"w": np.ones(5, np.float32)})
    updates = [Update("silo-a", base, 1)]
    with pytest.raises(IntegrityError, match="update-shape"):
        fold(base, updates, tmp_path / "new", strategy=FedAvgM(), moments={"first": other})
    assert not list(tmp_path.glob("new*"))
