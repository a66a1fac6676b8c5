"""What a site keeps of its own: FedBN, Ditto, SCAFFOLD, the model that never saw another site, and going on from it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch.nn import functional

from pipelines.bundles import read_bundle
from pipelines.job import Keeping, LocalTraining, RoundCommand, RoundEvent, TrainSession
from pipelines.memory import KEPT_ROUNDS, norm_names
from pipelines.networks import Arrays, load_network, to_arrays
from pipelines.session import ALONE, CONTROL, OWN, PERSONAL, TrainingRounds
from tests.unit.pipelines.examples import definition, tiny_bundle, write_cohort


class Place:
    """A tiny cohort and model, sessions over them, and a global model for each round."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_cohort(folder / "cohort", train=8)
        self.bundle = tiny_bundle(folder / "b.zip")
        self.network = load_network(read_bundle(self.bundle))
        self.start = to_arrays(self.network)

    def session(self, name: str = "one", *, local: dict[str, Any] | None = None, **keeps: Any) -> TrainingRounds:
        words = {"batch_size": 4, "learning_rate": 0.05, "optimiser": "sgd", "momentum": 0.0, **(local or {})}
        job = TrainSession(
            cohort=self.folder / "cohort",
            definition=definition(),
            bundle=self.bundle,
            local=LocalTraining.model_validate(words),
            out=self.folder / name / "out",
            exchange=self.folder,
            keeps=Keeping.model_validate(keeps),
            state=self.folder / name / "state",
            seed=3,
        )
        return TrainingRounds.opened(job, lambda done, total: None)

    def model(self, number: int) -> Path:
        """Another global model for each number; 0 is the start."""
        rng = np.random.default_rng(number)
        moved = {name: array + rng.normal(0, 0.1, array.shape).astype(np.float32) for name, array in self.start.items()}
        path = self.folder / f"global{number}.safetensors"
        save_file(moved if number else self.start, path)
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def do(rounds: TrainingRounds, place: Place, number: int, **words: Any) -> tuple[RoundEvent, Arrays]:
    event = rounds.run(RoundCommand(round=number, weights=place.model(words.pop("model", number)), **words))
    assert event.update is not None
    return event, load_file(event.update)


def kept(rounds: TrainingRounds, number: int, name: str) -> Arrays:
    found = rounds._memory.read(number, name)
    assert found is not None
    return found


def test_fedbn_sends_nothing_of_its_norms_and_trains_on_from_them(place: Place) -> None:
    rounds = place.session(personal="fedbn")
    norms = norm_names(place.network, place.start)
    assert norms
    assert norms < set(place.start)
    _, update = do(rounds, place, 1)
    own = kept(rounds, 1, OWN)
    assert all(not update[name].any() for name in norms)
    assert any(update[name].any() for name in update)
    assert any((own[name] != load_file(place.model(1))[name]).any() for name in norms)
    second, _ = do(rounds, place, 2, standing=1)
    alone, _ = do(place.session("fresh", personal="fedbn"), place, 2)
    assert kept(rounds, 2, OWN).keys() == own.keys()
    assert second.personal is not None
    assert second.score == alone.score, "the shared model is scored as it is"
    assert any((kept(rounds, 2, OWN)[name] != own[name]).any() for name in norms)


def test_dittos_global_update_is_that_of_a_study_without_it(place: Place) -> None:
    """And the stronger the pull, the nearer the personal model stays to the global one."""
    plain = do(place.session("plain"), place, 1)[1]
    distances = []
    for strength in (0.0, 5.0):
        rounds = place.session(f"ditto{strength}", personal="ditto", strength=strength)
        event, update = do(rounds, place, 1)
        assert all(np.array_equal(update[name], plain[name]) for name in plain)
        assert event.personal == event.score, "before its first training it is the global model"
        do(rounds, place, 2, standing=1)
        own, shared = kept(rounds, 2, PERSONAL), load_file(place.model(2))
        distances.append(sum(float(((own[name] - shared[name]) ** 2).sum()) for name in own))
    assert distances[1] < distances[0]


def test_the_model_alone_sees_no_global_model(place: Place) -> None:
    """Whatever the global models are, it is the same, and it starts where the study started."""
    one, two = place.session("one", alone=True), place.session("two", alone=True)
    do(one, place, 1, model=7)
    do(two, place, 1, model=8)
    first, second = kept(one, 1, ALONE), kept(two, 1, ALONE)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    event, _ = do(one, place, 2, model=9, standing=1)
    assert event.alone is not None
    assert any((kept(one, 2, ALONE)[name] != first[name]).any() for name in first)


def by_the_book(place: Place, shared: Arrays, added: Arrays, number: int, rate: float) -> Arrays:
    """Return the update of SCAFFOLD's local steps ``w -= rate * (g + added)``, written out in torch."""
    rounds = place.session("book")
    rounds.run(RoundCommand(round=number, weights=place.model(number), validate_only=True))
    trainer, network = rounds._trainer, rounds._network
    weights = {name: torch.from_numpy(array.copy()) for name, array in shared.items()}
    random = np.random.default_rng([3, number])
    order = random.permutation(8)
    for indices in (order[:4], order[4:]):
        images, labels = (torch.from_numpy(array) for array in trainer._training.batch(indices))
        leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        loss = functional.cross_entropy(torch.func.functional_call(network, leaves, (images,)), labels.long())
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        for name, gradient in zip(leaves, gradients, strict=True):
            weights[name] = weights[name] - rate * (gradient + torch.from_numpy(added[name]))
    return {name: (weights[name].numpy() - shared[name]) for name in weights}


def test_scaffolds_steps_and_control_variates_are_the_papers(place: Place) -> None:
    """Option II, against an implementation of its own; and only what stands is gone on from."""
    rate, rounds = 0.05, place.session(control=True)
    nought = {name: np.zeros_like(array) for name, array in place.start.items()}
    _, first = do(rounds, place, 1)
    expected = by_the_book(place, load_file(place.model(1)), nought, 1, rate)
    own = {name: -change / (2 * rate) for name, change in first.items()}
    common = {name: np.full_like(array, 0.02) for name, array in place.start.items()}
    save_file(common, place.folder / "common")
    for name in first:
        np.testing.assert_allclose(first[name], expected[name], atol=2e-6)
        np.testing.assert_allclose(kept(rounds, 1, CONTROL)[name], own[name], rtol=1e-5, atol=1e-6)
    _, second = do(rounds, place, 2, standing=1, control=place.folder / "common")
    added = {name: common[name] - own[name] for name in own}
    expected = by_the_book(place, load_file(place.model(2)), added, 2, rate)
    for name in second:
        np.testing.assert_allclose(second[name], expected[name], atol=2e-6)
        after = own[name] - common[name] - second[name] / (2 * rate)
        np.testing.assert_allclose(kept(rounds, 2, CONTROL)[name], after, rtol=1e-4, atol=1e-5)
    _, again = do(rounds, place, 2, standing=0, control=place.folder / "common")
    assert any((again[name] != second[name]).any() for name in again), "an update that does not stand left no trace"


def test_a_site_goes_on_from_its_own_model_where_the_global_one_is_worse(place: Place) -> None:
    """What it sends is still the difference from the global model."""
    rounds = place.session(own=True)
    do(rounds, place, 1)
    words = {"standing": 1, "reference": 2.0, "tolerance": 0.5}
    refused = do(rounds, place, 2, **words)[1]
    reached = kept(rounds, 2, OWN)
    for name, array in load_file(place.model(2)).items():
        np.testing.assert_allclose(array + refused[name], reached[name], atol=1e-6)
    accepted = do(rounds, place, 2, **{**words, "tolerance": 2.0})[1]
    fresh = do(place.session("fresh"), place, 2)[1]
    assert all(np.array_equal(accepted[name], fresh[name]) for name in fresh)
    assert any((refused[name] != fresh[name]).any() for name in fresh)


def test_a_round_that_is_not_scored_says_so_and_a_killed_one_is_done_again_alike(place: Place) -> None:
    rounds = place.session(personal="ditto", strength=0.1, alone=True)
    event, update = do(rounds, place, 1, evaluate=False)
    assert (event.score.value, event.score.reason, event.personal, event.alone) == (None, "not-evaluated", None, None)
    first = kept(rounds, 1, PERSONAL)
    again = place.session(personal="ditto", strength=0.1, alone=True)
    assert all(np.array_equal(do(again, place, 1)[1][name], update[name]) for name in update)
    assert all(np.array_equal(kept(again, 1, PERSONAL)[name], first[name]) for name in first)


def test_only_the_last_rounds_are_kept(place: Place) -> None:
    rounds = place.session(own=True)
    for number in range(1, KEPT_ROUNDS + 3):
        do(rounds, place, number, standing=number - 1)
    found = sorted(path.name for path in (place.folder / "one" / "state").iterdir())
    assert found == [f"r{number:05}.own.safetensors" for number in range(3, KEPT_ROUNDS + 3)]
