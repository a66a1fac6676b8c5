"""The fold: exactly the weighted average in float64, the same bytes whoever came first, nothing half written."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from federation_hub.aggregation.fold import Update, fold
from federation_hub.aggregation.layout import Tensor, header_bytes
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import IntegrityError
from tests.unit.aggregation.files import small_model, write

SHAPES = st.dictionaries(
    st.text("abc.", min_size=1, max_size=4),
    st.lists(st.integers(0, 7), max_size=3).map(tuple),
    min_size=1,
    max_size=5,
)
WEIGHTS = st.lists(st.integers(1, 10**9), min_size=1, max_size=6)


def round_files(folder: Path, shapes: dict[str, tuple[int, ...]], weights: Sequence[int]) -> tuple[Path, list[Update]]:
    rng = np.random.default_rng(len(weights))
    base = write(folder / "base", small_model(rng, shapes))
    updates = [
        Update(f"silo-{number}", write(folder / f"u{number}", small_model(rng, shapes)), weight)
        for number, weight in enumerate(weights)
    ]
    return base, updates


@settings(max_examples=50, deadline=None)
@given(shapes=SHAPES, weights=WEIGHTS, block=st.integers(1, 50))
def test_equals_the_plain_float64_average(shapes: dict[str, tuple[int, ...]], weights: list[int], block: int) -> None:
    """Byte for byte ``base + sum(w * delta) / sum(w)`` as numpy computes it in float64 on whole arrays."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        base, updates = round_files(folder, shapes, weights)
        fold(base, updates, folder / "new", block_values=block)
        deltas = [load_file(update.path) for update in updates]
        for key, start in load_file(base).items():
            summed = np.zeros(start.shape)
            for update, delta in zip(updates, deltas, strict=True):
                summed += update.weight * delta[key].astype(np.float64)
            expected = (summed / float(sum(weights)) + start).astype(np.float32)
            assert load_file(folder / "new")[key].tobytes() == expected.tobytes()


@settings(max_examples=30, deadline=None)
@given(shapes=SHAPES, weights=WEIGHTS, data=st.data())
def test_same_bytes_in_any_order_and_any_block_size(
    shapes: dict[str, tuple[int, ...]], weights: list[int], data: st.DataObject
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        base, updates = round_files(folder, shapes, weights)
        shuffled = data.draw(st.permutations(updates))
        first = fold(base, updates, folder / "first", block_values=data.draw(st.integers(1, 400)))
        second = fold(base, shuffled, folder / "second", block_values=data.draw(st.integers(1, 400)))
        assert first == second
        assert (folder / "first").read_bytes() == (folder / "second").read_bytes()


def test_the_answer_is_the_digest_of_the_file(tmp_path: Path) -> None:
    base, updates = round_files(tmp_path, {"w": (40, 50), "b": ()}, [3, 4])
    folded = fold(base, updates, tmp_path / "new")
    content = (tmp_path / "new").read_bytes()
    assert (folded.digest, folded.size) == (digest_bytes(content), len(content))


def test_tensors_may_lie_in_another_order_in_each_file(tmp_path: Path) -> None:
    """Values are matched by name: an update written with its tensors reversed gives the same model."""
    base, updates = round_files(tmp_path, {"a": (3,), "b": (3,)}, [1])
    straight = fold(base, updates, tmp_path / "straight")
    arrays = load_file(updates[0].path)
    reversed_tensors = [Tensor(name, "F32", (3,), 0, 12) for name in ("b", "a")]
    content = header_bytes(reversed_tensors) + arrays["b"].tobytes() + arrays["a"].tobytes()
    updates[0].path.write_bytes(content)
    assert fold(base, updates, tmp_path / "reversed") == straight


def test_zero_deltas_leave_the_model_as_it_is(tmp_path: Path) -> None:
    base = write(tmp_path / "base", small_model(np.random.default_rng(0), {"w": (100,)}))
    zero = write(tmp_path / "zero", {"w": np.zeros(100, np.float32)})
    fold(base, [Update("silo-a", zero, 5), Update("silo-b", zero, 7)], tmp_path / "new")
    assert np.array_equal(load_file(tmp_path / "new")["w"], load_file(base)["w"])


def test_an_update_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    base, updates = round_files(tmp_path, {"w": (4,)}, [1, 1])
    write(updates[1].path, {"w": np.zeros(5, np.float32)})
    with pytest.raises(IntegrityError, match="update-shape"):
        fold(base, updates, tmp_path / "new")
    assert not list(tmp_path.glob("new*"))


def test_a_fold_that_was_cut_off_is_done_again_from_the_start(tmp_path: Path) -> None:
    """What a killed process left under the temporary name changes nothing."""
    base, updates = round_files(tmp_path, {"w": (64,)}, [1, 2])
    whole = fold(base, updates, tmp_path / "whole")
    (tmp_path / "again.partial").write_bytes(b"\xff" * 10_000)
    assert fold(base, updates, tmp_path / "again") == whole
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("weights", [[], [0], [3, -1]])
def test_nothing_to_weigh_is_refused(tmp_path: Path, weights: list[int]) -> None:
    base, updates = round_files(tmp_path, {"w": (4,)}, weights)
    with pytest.raises(ValueError, match="positive weights"):
        fold(base, updates, tmp_path / "new")


def test_a_silo_counts_once(tmp_path: Path) -> None:
    base, updates = round_files(tmp_path, {"w": (4,)}, [1])
    with pytest.raises(ValueError, match="two updates"):
        fold(base, updates * 2, tmp_path / "new")
