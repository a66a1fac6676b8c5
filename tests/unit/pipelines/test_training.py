"""Local training: trained minus global, copies only, the same for the same seed, exact weights or none."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.fl.client.client_algo import ClientAlgo
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from pipelines.bundles import read_bundle
from pipelines.errors import PipelineError
from pipelines.job import LocalTraining
from pipelines.networks import Arrays, to_arrays
from pipelines.training import MOMENTUM, LocalTrainer, augment, batches, open_trainer, run_round, update_scale
from tests.unit.pipelines.examples import question, tiny_bundle, write_cohort


def trainer_of(
    tmp_path: Path, task: str = "classification", *, seed: int = 0, **local: Any
) -> tuple[LocalTrainer, Arrays]:
    """A trainer over a tiny cohort and the bundle's own weights."""
    cohort, bundle = tmp_path / "cohort", tmp_path / "b.zip"
    if not cohort.exists():
        write_cohort(cohort, task)
        tiny_bundle(bundle, task)
    words = {"epochs": 1, "batch_size": 4, "learning_rate": 0.01, **local}
    trainer, network = open_trainer(
        read_bundle(bundle), question(task), LocalTraining.model_validate(words), cohort, seed=seed
    )
    return trainer, to_arrays(network)


def exchange(weights: Arrays) -> ExchangeObject:
    return ExchangeObject(weights=weights, weight_type=WeightType.WEIGHTS)


def test_the_update_is_trained_minus_global(tmp_path: Path) -> None:
    """So that the global model plus the update is what the silo has."""
    trainer, weights = trainer_of(tmp_path)
    trainer.train(exchange(weights), {"round": 1})
    update = trainer.get_weights()
    trained = to_arrays(trainer._network)
    assert update.weight_type == WeightType.WEIGHT_DIFF
    assert update.weights is not None
    assert any(np.abs(array).max() > 1e-4 for array in update.weights.values())
    for name, array in update.weights.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, trained[name] - weights[name])


def test_what_was_given_away_does_not_change(tmp_path: Path) -> None:
    """MONAI's own algorithm hands out the live weights on a CPU."""
    trainer, weights = trainer_of(tmp_path)
    original = {name: array.copy() for name, array in weights.items()}
    trainer.train(exchange(weights), {"round": 1})
    first = trainer.get_weights().weights
    assert first is not None
    kept = {name: array.copy() for name, array in first.items()}
    trainer.train(exchange(weights), {"round": 2})
    assert all(np.array_equal(first[name], kept[name]) for name in kept)
    assert all(np.array_equal(weights[name], original[name]) for name in original)


def test_training_is_the_seeds_and_the_rounds(tmp_path: Path) -> None:
    """The same twice, and another in the next round or with another seed; nothing is kept between rounds."""

    def update(trainer: LocalTrainer, number: int) -> bytes:
        found = run_round(trainer, weights, number, validate_only=False)[1]
        assert found is not None
        return b"".join(found[name].tobytes() for name in sorted(found))

    trainer, weights = trainer_of(tmp_path, optimiser="adam")
    first, second = update(trainer, 1), update(trainer, 2)
    assert update(trainer, 1) == first
    assert second != first
    assert update(trainer_of(tmp_path, seed=1)[0], 1) != first


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_training_learns(tmp_path: Path, optimiser: str) -> None:
    """Every optimiser brings the validation score of an easy question up."""
    trainer, weights = trainer_of(tmp_path, optimiser=optimiser, epochs=30, learning_rate=0.02)
    before, update, seconds = run_round(trainer, weights, 1, validate_only=False)
    assert update is not None
    assert seconds > 0
    after = run_round(trainer, {name: weights[name] + update[name] for name in weights}, 2, validate_only=True)
    assert after[1] is None
    assert before.value is not None
    assert after[0].value is not None
    assert after[0].value > max(before.value, 0.9)


def test_a_segmentation_trains_too(tmp_path: Path) -> None:
    """Dice and cross entropy over volumes, with augmentation."""
    trainer, weights = trainer_of(tmp_path, "segmentation", epochs=12, learning_rate=0.02, augment=True)
    before, update, _ = run_round(trainer, weights, 1, validate_only=False)
    assert update is not None
    after, _, _ = run_round(trainer, {name: weights[name] + update[name] for name in weights}, 2, validate_only=True)
    assert after.metric == "dice"
    assert after.cases == 10
    assert after.value is not None
    assert before.value is not None
    assert after.value > before.value + 0.1


def test_the_score_is_of_the_incoming_model_and_changes_nothing(tmp_path: Path) -> None:
    """Validating before training gives the same update as training alone."""
    trainer, weights = trainer_of(tmp_path)
    trainer.train(exchange(weights), {"round": 3})
    alone = trainer.get_weights().weights
    _, update, _ = run_round(trainer, weights, 3, validate_only=False)
    assert alone is not None
    assert update is not None
    assert all(np.array_equal(alone[name], update[name]) for name in alone)


@pytest.mark.parametrize("proximal", [0.5, 4.0])
def test_fedprox_is_the_loss_with_a_proximal_term(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proximal: float
) -> None:
    """The same update as torch's own gradient of ``loss + proximal / 2 * |w - w_global| ** 2``, over several steps."""
    trainer, weights = trainer_of(tmp_path, optimiser="sgd", epochs=2, proximal=proximal)
    _, update, _ = run_round(trainer, weights, 1, validate_only=False)
    plain, _ = trainer_of(tmp_path, optimiser="sgd", epochs=2)
    network = plain._network
    anchors = [parameter.detach().clone() for parameter in network.parameters()]
    loss_of = plain._task.loss

    def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        pull = sum(((p - a) ** 2).sum() for p, a in zip(network.parameters(), anchors, strict=True))
        return loss_of(outputs, labels) + proximal / 2 * pull

    monkeypatch.setattr(plain._task, "loss", loss)
    _, expected, _ = run_round(plain, weights, 1, validate_only=False)
    assert update is not None
    assert expected is not None
    for name, array in expected.items():
        np.testing.assert_allclose(update[name], array, rtol=1e-4, atol=1e-6)


def test_a_stronger_pull_keeps_training_nearer_to_the_global_model(tmp_path: Path) -> None:
    def length(proximal: float) -> float:
        trainer, weights = trainer_of(tmp_path, optimiser="sgd", epochs=4, proximal=proximal)
        update = run_round(trainer, weights, 1, validate_only=False)[1]
        assert update is not None
        return float(np.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in update.values())))

    assert length(20.0) < length(1.0) < length(0.0)


@pytest.mark.parametrize("steps", [1, 4, 25])
def test_fednova_makes_silos_with_more_steps_count_alike(steps: int) -> None:
    """Under a constant gradient torch's own steps, scaled to ten, are torch's ten steps."""

    def moved(count: int) -> float:
        value = torch.zeros(1, requires_grad=True)
        optimiser = torch.optim.SGD([value], lr=0.1, momentum=MOMENTUM)
        for _ in range(count):
            value.grad = torch.ones(1)
            optimiser.step()
        return float(value.detach())

    assert moved(steps) * update_scale(steps, 10) == pytest.approx(moved(10), rel=1e-5)
    assert update_scale(steps, None) == 1


def test_a_normalised_update_is_the_plain_one_scaled(tmp_path: Path) -> None:
    trainer, weights = trainer_of(tmp_path, optimiser="sgd", epochs=2)
    plain = run_round(trainer, weights, 1, validate_only=False)[1]
    steps = trainer._steps
    trainer, _ = trainer_of(tmp_path, optimiser="sgd", epochs=2, normalise_to=3)
    scaled = run_round(trainer, weights, 1, validate_only=False)[1]
    assert plain is not None
    assert scaled is not None
    for name, array in plain.items():
        np.testing.assert_allclose(scaled[name], array * update_scale(steps, 3), rtol=1e-6)


def test_the_trainer_speaks_monais_interface() -> None:
    """Every method of ClientAlgo that can be called is there, with the parameters it is called with."""
    assert issubclass(LocalTrainer, ClientAlgo)
    for name in ("initialize", "finalize", "abort", "train", "get_weights", "evaluate"):
        ours, theirs = (list(inspect.signature(getattr(kind, name)).parameters) for kind in (LocalTrainer, ClientAlgo))
        assert ours == theirs


def test_the_calls_of_a_monai_server_work(tmp_path: Path) -> None:
    """Weights may come as tensors; metrics and statistics are in MONAI's places."""
    trainer, weights = trainer_of(tmp_path)
    trainer.initialize({"fl_client_name": "site"})
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    metrics = trainer.evaluate(ExchangeObject(weights=tensors, weight_type=WeightType.WEIGHTS)).metrics
    trainer.train(ExchangeObject(weights=tensors, weight_type=WeightType.WEIGHTS))
    answer = trainer.get_weights()
    trainer.finalize()
    assert metrics is not None
    assert 0 <= metrics["auroc"] <= 1
    assert answer.is_valid_weights()
    assert answer.statistics == {"num_executed_iterations": 3, "num_cases": 12}


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "difference"])
def test_a_global_model_that_does_not_fit_exactly_is_refused(tmp_path: Path, change: str) -> None:
    """Names, shapes, and what kind of weights they are."""
    trainer, weights = trainer_of(tmp_path)
    name = "final.1.bias"
    kind = WeightType.WEIGHT_DIFF if change == "difference" else WeightType.WEIGHTS
    if change == "missing":
        weights.pop(name)
    elif change == "extra":
        weights["more"] = weights[name]
    elif change == "shape":
        weights[name] = np.zeros(3, np.float32)
    with pytest.raises(PipelineError, match="weights-mismatch"):
        trainer.train(ExchangeObject(weights=weights, weight_type=kind))


def test_a_global_model_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    """Before a single step."""
    trainer, weights = trainer_of(tmp_path)
    weights["final.1.bias"] = np.array([np.nan, 0], np.float32)
    with pytest.raises(PipelineError, match="weights-invalid"):
        trainer.train(exchange(weights))


def test_there_are_no_weights_before_training_or_after_an_abort(tmp_path: Path) -> None:
    """An aborted round gives nothing, rather than half of something."""
    trainer, weights = trainer_of(tmp_path)
    with pytest.raises(PipelineError, match="work-failed"):
        trainer.get_weights()
    trainer._progress = lambda done, total: trainer.abort()
    trainer.train(exchange(weights))
    with pytest.raises(PipelineError, match="work-failed"):
        trainer.get_weights()


def test_training_that_diverges_gives_no_update(tmp_path: Path) -> None:
    """A NaN is found here and not by the hub."""
    trainer, weights = trainer_of(tmp_path, optimiser="sgd", learning_rate=10.0, epochs=200)
    weights = {name: array * np.float32(1e18) for name, array in weights.items()}
    with pytest.raises(PipelineError, match="update-not-finite"):
        run_round(trainer, weights, 1, validate_only=False)


def test_a_site_without_training_cases_cannot_train(tmp_path: Path) -> None:
    """It may still validate."""
    write_cohort(tmp_path / "cohort", train=0)
    tiny_bundle(tmp_path / "b.zip")
    trainer, weights = trainer_of(tmp_path)
    assert run_round(trainer, weights, 1, validate_only=True)[0].value is not None
    with pytest.raises(PipelineError, match="cohort-too-small"):
        trainer.train(exchange(weights))


def test_an_epoch_sees_every_case_once() -> None:
    """In a new order each time, and no more steps than the plan allows."""
    random = np.random.default_rng(0)
    plan = batches(10, LocalTraining(epochs=2, batch_size=4), random)
    assert [len(step) for step in plan] == [4, 4, 2, 4, 4, 2]
    first, second = np.concatenate(plan[:3]), np.concatenate(plan[3:])
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)
    assert len(batches(10, LocalTraining(epochs=1000, batch_size=4, max_steps=5), random)) == 5


def test_augmentation_moves_a_label_map_with_its_image() -> None:
    """A voxel's label stays with the voxel."""
    random = np.random.default_rng(3)
    labels = torch.zeros(2, 32, 16, 48, dtype=torch.long)
    labels[:, 8:20, 4:10, 8:30] = 1
    seen = set()
    for _ in range(20):
        images, maps = augment(100.0 * labels[:, None], labels, True, random)
        assert torch.equal(images[:, 0] > 50, maps == 1)
        assert maps.sum() == labels.sum()
        seen.add(tuple(torch.argwhere(maps[0]).min(0).values.tolist()))
    assert len(seen) > 10
    assert all(6 <= x <= 10 and 3 <= y <= 5 and 5 <= z <= 11 for x, y, z in seen)
