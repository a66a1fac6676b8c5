"""The sum under masks is the plain sum, bit for bit, whoever vanishes; and a value that does not fit is refused."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from federation_hub.aggregation.fold import Update
from federation_hub.aggregation.group_means import plain_means
from pipelines.errors import PipelineError
from pipelines.masking import shamir
from pipelines.masking.fixed_point import Bits, FixedPoint
from pipelines.masking.keystream import BLOCK_WORDS, Keystream
from pipelines.masking.sums import Masks, WeightedSum, encoded, masked_size, stored, write_masked, write_mean
from tests.unit.masking.rounds import Arrays, advertised, masked_mean, silo_ids


def random_update(rng: np.random.Generator, shapes: dict[str, tuple[int, ...]], scale: float) -> Arrays:
    return {name: np.asarray(rng.standard_normal(shape) * scale, np.float32) for name, shape in shapes.items()}


def by_the_book(updates: list[Arrays], weights: list[int], encoding: FixedPoint) -> Arrays:
    """Integers without any limit, Python's own: what the sum is by definition."""
    found = {}
    for name, first in updates[0].items():
        scaled = [
            np.rint(one[name].astype(np.float64) * (weight * 2.0**encoding.exponent))
            for one, weight in zip(updates, weights, strict=True)
        ]
        exact = [sum(int(array.flat[place]) for array in scaled) for place in range(first.size)]
        mean = np.array(exact, np.float64) / (sum(weights) * 2.0**encoding.exponent)
        found[name] = mean.astype(np.float32).reshape(first.shape)
    return found


@dataclass(frozen=True)
class Case:
    """A random round: everybody's update and weight, and who vanishes."""

    updates: list[Arrays]
    weights: list[int]
    gone: list[int]

    @property
    def left(self) -> list[int]:
        return [place for place in range(len(self.weights)) if place not in self.gone]

    def expected(self, survivors: list[int], bits: Bits = 32) -> dict[str, bytes]:
        encoding = FixedPoint.for_sum(16.0, sum(self.weights), len(self.weights), bits)
        chosen = [self.updates[place] for place in survivors], [self.weights[place] for place in survivors]
        return {name: array.tobytes() for name, array in by_the_book(*chosen, encoding).items()}


def random_case(number: int, largest: float = 5.0) -> Case:
    """Three to seven silos, weights of one to ``10**largest``; as many vanish as may."""
    rng = np.random.default_rng(number)
    count = int(rng.integers(3, 8))
    spare = count - max(3, -(-2 * count // 3))
    gone = rng.permutation(count)[: int(rng.integers(0, spare + 1))].tolist()
    weights = [int(10 ** rng.uniform(0, largest)) for _ in range(count)]
    shapes = {"b.weight": (int(rng.integers(1, 9)), 3), "a": (), "norm.running_var": (int(rng.integers(1, 40)),)}
    return Case([random_update(rng, shapes, 10 ** rng.uniform(-6, 0)) for _ in range(count)], weights, gone)


def bytes_of(path: Path) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in load_file(path).items()}


@pytest.mark.parametrize(("bits", "rounds", "largest"), [(32, 200, 5.0), (16, 50, 2.5)])
def test_the_masked_mean_is_the_plain_mean_bit_for_bit(bits: Bits, rounds: int, largest: float, tmp_path: Path) -> None:
    """Over 200 random cases, with every pair's mask and every silo's own; the vanished ones' masks are taken away.

    And over 50 with words of 16 bits, which hold fewer cases.
    """
    for number in range(rounds):
        case = random_case(number, largest)
        encoding = FixedPoint.for_sum(16.0, sum(case.weights), len(case.weights), bits)
        rng = np.random.default_rng([1, number])
        own = [rng.bytes(32) for _ in case.weights]
        pair = {(low, high): rng.bytes(32) for high in range(len(own)) for low in range(high)}
        sources = []
        for place in case.left:
            save_file(case.updates[place], tmp_path / "update")
            added = (own[place], *(seed for (low, _), seed in pair.items() if low == place))
            masks = Masks(added, tuple(seed for (_, high), seed in pair.items() if high == place))
            write_masked(encoded(tmp_path / "update", encoding, case.weights[place]), masks, tmp_path / f"{place}")
            values = sum(array.size for array in case.updates[0].values())
            assert (tmp_path / f"{place}").stat().st_size == masked_size(values, bits)
            sources.append(stored(tmp_path / f"{place}", values, bits))
        kept = set(case.left)
        rest = Masks(
            added=tuple(seed for (low, high), seed in pair.items() if low in case.gone and high in kept),
            taken=tuple(own[place] for place in case.left)
            + tuple(seed for (low, high), seed in pair.items() if high in case.gone and low in kept),
        )
        meaning = WeightedSum(encoding, sum(case.weights[place] for place in case.left), len(case.left))
        write_mean(sources, rest, meaning, tmp_path / "update", tmp_path / "mean")
        assert bytes_of(tmp_path / "mean") == case.expected(case.left, bits), number


@pytest.mark.parametrize("step", ["never_share", "never_send", "never_open"])
def test_whoever_vanishes_before_a_step_the_protocol_opens_the_exact_sum(step: str, tmp_path: Path) -> None:
    """The whole protocol with real keys and shares; who shared and never sent has its masks rebuilt from its root."""
    found = [number for number in range(200) if random_case(number).gone]
    for number in found[:4]:
        case = random_case(number)
        folder = tmp_path / str(number)
        folder.mkdir()
        updates = dict(zip(silo_ids(len(case.weights)), case.updates, strict=True))
        mean = masked_mean(folder, updates, case.weights, **{step: case.gone})
        survivors = list(range(len(case.weights))) if step == "never_open" else case.left
        assert bytes_of(mean) == case.expected(survivors), number


def test_the_mean_is_that_of_the_weights_within_half_a_step_a_site(tmp_path: Path) -> None:
    """The error is bounded by the field, not by the weights: one site has a million cases, one has one."""
    rng = np.random.default_rng(0)
    weights = [10**6, 1, 50]
    updates = [random_update(rng, {"w": (1000,)}, 1e-3) for _ in weights]
    found = load_file(masked_mean(tmp_path, dict(zip(silo_ids(3), updates, strict=True)), weights))["w"]
    expected = sum(w * u["w"].astype(np.float64) for w, u in zip(weights, updates, strict=True)) / sum(weights)
    assert np.abs(found - expected).max() <= 1.5 * 16 / 2**29 + 1e-9


def test_half_the_bytes_cost_what_is_said(tmp_path: Path) -> None:
    """With words of 16 bits and a bound to go with them; and so many cases as they cannot hold are refused."""
    rng = np.random.default_rng(0)
    weights = [400, 30, 150, 220]
    updates = [random_update(rng, {"w": (1000,)}, 1e-2) for _ in weights]
    named = dict(zip(silo_ids(4), updates, strict=True))
    found = load_file(masked_mean(tmp_path, named, weights, word_bits=16, largest_change=0.1))["w"]
    expected = sum(w * u["w"].astype(np.float64) for w, u in zip(weights, updates, strict=True)) / sum(weights)
    assert 1e-7 < np.abs(found - expected).max() <= 4 / 2 * 0.1 / 2**14 + 1e-9
    with pytest.raises(PipelineError, match="words of 16 bits"):
        FixedPoint.for_sum(0.1, 10_000, 4, 16)


def test_a_federation_and_a_simulation_give_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    weights = [10, 20, 30]
    updates = [random_update(rng, {"w": (BLOCK_WORDS + 5,), "v": (3,)}, 1e-2) for _ in weights]
    mean = masked_mean(tmp_path, dict(zip(silo_ids(3), updates, strict=True)), weights)
    plan = advertised(weights)[0].session.task.plan
    plain = [Update(one, tmp_path / f"{one}.safetensors", w) for one, w in zip(silo_ids(3), weights, strict=True)]
    (simulated,) = plain_means(plain, plan, plain[0].path, tmp_path / "simulated")
    assert simulated.path.read_bytes() == mean.read_bytes()
    assert simulated.weight == 60


@pytest.mark.parametrize("value", [16.001, -1e9, np.nan, np.inf])
def test_a_value_that_does_not_fit_is_refused_and_nothing_is_written(value: float, tmp_path: Path) -> None:
    save_file({"w": np.array([0, value, 0], np.float32)}, tmp_path / "update")
    encoding = FixedPoint.for_sum(16.0, 100, 3)
    with pytest.raises(PipelineError, match=r"masking-overflow|update-not-finite"):
        write_masked(encoded(tmp_path / "update", encoding, 10), Masks(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_largest_values_of_every_site_together_do_not_overflow(tmp_path: Path) -> None:
    weights = [7, 11, 4_000_001]
    updates = [{"w": np.full(3, sign * 16.0, np.float32)} for sign in (1, 1, 1)]
    mean = masked_mean(tmp_path, dict(zip(silo_ids(3), updates, strict=True)), weights)
    assert load_file(mean)["w"].tolist() == [16.0] * 3


def test_more_weight_than_words_can_hold_is_refused() -> None:
    with pytest.raises(PipelineError, match="masking-overflow"):
        FixedPoint.for_sum(16.0, 2**24, 3)


def test_a_mask_that_was_not_taken_away_shows_and_no_mean_is_written(tmp_path: Path) -> None:
    save_file({"w": np.zeros(9, np.float32)}, tmp_path / "update")
    encoding = FixedPoint.for_sum(16.0, 10, 1)
    write_masked(encoded(tmp_path / "update", encoding, 10), Masks(added=(b"k" * 32,)), tmp_path / "masked")
    meaning = WeightedSum(encoding, 10, 1)
    with pytest.raises(PipelineError, match="masking-incomplete"):
        write_mean([stored(tmp_path / "masked", 9)], Masks(), meaning, tmp_path / "update", tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_a_masked_file_of_another_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "masked").write_bytes(bytes(masked_size(9) + 4))
    with pytest.raises(PipelineError, match="update-unsound"):
        stored(tmp_path / "masked", 9)


@pytest.mark.parametrize("bits", [16, 32])
def test_masked_bytes_look_like_noise(bits: Bits, tmp_path: Path) -> None:
    """Chi-square over the bytes of a masked update of noughts: 255 degrees of freedom, 5.5 standard deviations."""
    save_file({"w": np.zeros(4 * BLOCK_WORDS, np.float32)}, tmp_path / "update")
    encoding = FixedPoint.for_sum(16.0, 10, 1, bits)
    write_masked(encoded(tmp_path / "update", encoding, 10), Masks(added=(b"s" * 32,)), tmp_path / "out")
    counts = np.bincount(np.frombuffer((tmp_path / "out").read_bytes(), np.uint8), minlength=256)
    expected = counts.sum() / 256
    assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 5.5 * (2 * 255) ** 0.5


def test_a_stream_is_the_same_however_it_is_cut() -> None:
    whole, parts = np.zeros(100, np.uint32), np.zeros(100, np.uint32)
    Keystream(b"k" * 32).add_to(whole)
    stream = Keystream(b"k" * 32)
    for start in range(0, 100, 20):
        stream.add_to(parts[start : start + 20])
    assert parts.tolist() == whole.tolist()


def test_any_threshold_of_shares_give_the_secret_and_fewer_another() -> None:
    secret = bytes(range(32))
    shares = shamir.split(secret, 4, 6)
    places = dict(enumerate(shares, start=1))
    for gone in range(1, 7):
        kept = {place: share for place, share in places.items() if place != gone}
        assert shamir.join(kept) == secret
    few = [place for place in range(1, 7) if place > 3]
    with suppress(PipelineError):  # as a rule what comes out has not even 32 bytes
        assert shamir.join({place: places[place] for place in few}) != secret


def test_the_field_of_the_shares_is_a_field() -> None:
    """Miller and Rabin with forty bases: a composite number passes with a chance below 1e-24."""
    odd, twos = shamir.PRIME - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in range(2, 42):
        value = pow(base, odd, shamir.PRIME)
        assert value in (1, shamir.PRIME - 1) or any(
            pow(value, 2**power, shamir.PRIME) == shamir.PRIME - 1 for power in range(twos)
        )
