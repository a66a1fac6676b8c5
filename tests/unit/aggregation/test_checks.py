"""An update counts only after these checks; each refusal has its own code."""

from pathlib import Path

import numpy as np
import pytest

from federation_hub.aggregation.checks import LARGEST_NORM, verify_update
from federation_hub.aggregation.layout import BLOCK_VALUES, Layout, read_layout
from silo_node.wire.errors import IntegrityError
from tests.unit.aggregation.files import Arrays, small_model, write

SHAPES = {"conv.weight": (8, 1, 3, 3), "conv.bias": (8,), "scale": ()}


@pytest.fixture
def good() -> dict[str, np.ndarray]:
    return small_model(np.random.default_rng(1), SHAPES)


@pytest.fixture
def base(tmp_path: Path, good: dict[str, np.ndarray]) -> Layout:
    return read_layout(write(tmp_path / "base", good))


def refusal(path: Path, base: Layout, arrays: Arrays, norm_bound: float | None = None) -> str:
    with pytest.raises(IntegrityError) as error:
        verify_update(write(path, arrays), base, norm_bound=norm_bound)
    return error.value.code


def test_a_sound_update_passes_with_its_norm(tmp_path: Path, base: Layout, good: dict[str, np.ndarray]) -> None:
    """The norm is that of all values together in float64, whatever the order of the tensors in the file."""
    flat = np.concatenate([good[name].ravel() for name in good]).astype(np.float64)
    path = write(tmp_path / "u", {name: good[name] for name in reversed(good)})
    assert verify_update(path, base).norm == pytest.approx(float(np.linalg.norm(flat)), rel=1e-14)


def test_missing_extra_shape_and_dtype(tmp_path: Path, base: Layout, good: dict[str, np.ndarray]) -> None:
    without = {name: good[name] for name in good if name != "scale"}
    assert refusal(tmp_path / "u", base, without) == "update-name-missing"
    assert refusal(tmp_path / "u", base, good | {"step": np.zeros(1, np.float32)}) == "update-name-extra"
    assert refusal(tmp_path / "u", base, good | {"conv.bias": np.zeros((8, 1), np.float32)}) == "update-shape"
    assert refusal(tmp_path / "u", base, good | {"conv.bias": np.zeros(8, np.float64)}) == "update-dtype"
    assert refusal(tmp_path / "u", base, good | {"conv.bias": np.zeros(8, np.int32)}) == "update-dtype"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, BLOCK_VALUES, 2 * BLOCK_VALUES + 4])
def test_one_value_that_is_not_finite_refuses_the_update(tmp_path: Path, value: float, position: int) -> None:
    """Wherever it stands: in the first, a middle or the last, incomplete block."""
    values = np.zeros(2 * BLOCK_VALUES + 5, np.float32)
    base = read_layout(write(tmp_path / "base", {"w": values}))
    values[position] = value
    assert refusal(tmp_path / "u", base, {"w": values}) == "update-not-finite"


def test_the_norm_bound(tmp_path: Path, base: Layout, good: dict[str, np.ndarray]) -> None:
    norm = verify_update(write(tmp_path / "u", good), base).norm
    assert verify_update(tmp_path / "u", base, norm_bound=norm).norm == norm
    assert refusal(tmp_path / "u", base, good, norm_bound=norm * 0.999) == "update-norm"


def test_a_norm_beyond_float32_is_refused_without_any_bound(
    tmp_path: Path, base: Layout, good: dict[str, np.ndarray]
) -> None:
    """Values of 1e30 are finite, yet their squares are infinite in float32 and their sum would spoil the model."""
    huge = {name: np.full_like(array, 1e30) for name, array in good.items()}
    assert refusal(tmp_path / "u", base, huge) == "update-norm"
    assert refusal(tmp_path / "u", base, huge, norm_bound=LARGEST_NORM) == "update-norm"


def test_a_file_cut_short_is_unsound(tmp_path: Path, base: Layout, good: dict[str, np.ndarray]) -> None:
    path = write(tmp_path / "u", good)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="update-unsound"):
        verify_update(path, base)
