"""What each level keeps, what its error feedback makes up for, and what a hub refuses before it unpacks."""

import struct
from pathlib import Path

import numpy as np
import pytest
import zstandard
from safetensors.numpy import load_file, save_file

from pipelines.compression.coding import Level, coding_for
from pipelines.compression.feedback import compress_round
from pipelines.compression.files import BLOCK_VALUES, MAGIC, compress, decompress
from pipelines.errors import PipelineError

LEVELS: tuple[Level, ...] = ("lossless", "half", "int8", "topk")
ERRORS = {"lossless": 0.0, "half": 5e-4, "int8": 0.02, "topk": 1.0}
"""Relative L2 error of a normal update, at most."""

Arrays = dict[str, np.ndarray]


def an_update(seed: int = 0, scale: float = 1e-3) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = {"z.weight": (130, 77), "a.bias": (), "norm.weight": (5,), "long": (BLOCK_VALUES + 3,)}
    made = {name: np.asarray(rng.standard_normal(shape) * scale, np.float32) for name, shape in shapes.items()}
    return made | {"norm.running_var": np.float32([1e4, 1e-30, 0, -3, 7])}


def there_and_back(folder: Path, arrays: Arrays, level: Level, fraction: float = 0.1) -> Arrays:
    save_file(arrays, folder / "plain")
    compress(folder / "plain", folder / "sent", level, fraction=fraction)
    decompress(folder / "sent", folder / "plain", folder / "received", level, fraction=fraction)
    return load_file(folder / "received")


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_keeps_what_it_promises_and_statistics_exactly(level: Level, tmp_path: Path) -> None:
    arrays = an_update()
    found = there_and_back(tmp_path, arrays, level)
    assert {name: array.shape for name, array in found.items()} == {name: array.shape for name, array in arrays.items()}
    assert found["norm.running_var"].tobytes() == arrays["norm.running_var"].tobytes()
    for name in ("z.weight", "long"):
        lost = float(np.linalg.norm(found[name] - arrays[name]) / np.linalg.norm(arrays[name]))
        assert lost <= ERRORS[level], name


@pytest.mark.parametrize("scale", [1e-30, 1e-7, 1.0, 1e12])
def test_half_neither_overflows_nor_loses_small_values(scale: float, tmp_path: Path) -> None:
    """As they are, float16 would make an infinity of 1e12 and a nought of 1e-30."""
    arrays = an_update(scale=scale)
    found = there_and_back(tmp_path, arrays, "half")["z.weight"]
    assert np.linalg.norm(found - arrays["z.weight"]) <= 5e-4 * np.linalg.norm(arrays["z.weight"])


def test_smaller_levels_make_smaller_files(tmp_path: Path) -> None:
    save_file(an_update(), tmp_path / "plain")
    sizes = []
    for level in LEVELS:
        compress(tmp_path / "plain", tmp_path / "sent", level, fraction=0.05)
        sizes.append((tmp_path / "sent").stat().st_size)
    assert [(tmp_path / "plain").stat().st_size, *sizes] == sorted([(tmp_path / "plain").stat().st_size, *sizes])[::-1]


@pytest.mark.parametrize("level", ["int8", "topk"])
def test_what_rounding_loses_is_sent_later(level: Level, tmp_path: Path) -> None:
    """Over rounds the sum of what arrives is the sum of what was trained, but for the last residual."""
    trained, arrived = np.zeros((130, 77)), np.zeros((130, 77))
    for number in range(1, 6):
        arrays = an_update(number)
        save_file(arrays, tmp_path / "plain")
        compress_round(tmp_path / "plain", tmp_path / "sent", level, 0.1, tmp_path / "kept", number)
        again = (tmp_path / "sent").read_bytes()
        compress_round(tmp_path / "plain", tmp_path / "sent", level, 0.1, tmp_path / "kept", number)
        assert (tmp_path / "sent").read_bytes() == again, "a round done again starts from the same residual"
        decompress(tmp_path / "sent", tmp_path / "plain", tmp_path / "received", level, fraction=0.1)
        trained += arrays["z.weight"]
        arrived += load_file(tmp_path / "received")["z.weight"]
    left = load_file(tmp_path / "kept" / "00005.safetensors")
    assert np.allclose(arrived + left["z.weight"], trained, atol=1e-8)
    assert not left["norm.running_var"].any()
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_the_same_update_gives_the_same_bytes(tmp_path: Path) -> None:
    save_file({"w": np.float32([1, -1, 1, 1, 0.5])}, tmp_path / "plain")
    for level in LEVELS:
        compress(tmp_path / "plain", tmp_path / "one", level, fraction=0.5)
        compress(tmp_path / "plain", tmp_path / "two", level, fraction=0.5)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def record(mark: int, data: bytes) -> bytes:
    frame = zstandard.ZstdCompressor().compress(data)
    return struct.pack("<BI", mark, len(frame)) + frame


GOOD = MAGIC + record(1, coding_for("half", 1).encode(np.float32([1, 2, 3])))
HOSTILE = {
    "no update at all": b"PK\x03\x04",
    "cut short": GOOD[:-1],
    "more after the last block": GOOD + b"x",
    "a coding nobody agreed to": MAGIC + record(2, bytes(7)),
    "a bomb": MAGIC + record(1, bytes(50_000_000)),
    "a frame that is none": MAGIC + struct.pack("<BI", 1, 3) + b"abc",
    "a frame longer than it can be": MAGIC + struct.pack("<BI", 1, 2**32 - 1),
    "a scale beyond float32": MAGIC + record(1, struct.pack("<h", 30_000) + bytes(6)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_exactly_the_schemas_blocks_is_refused(name: str, tmp_path: Path) -> None:
    save_file({"w": np.float32([1, 2, 3])}, tmp_path / "base")
    (tmp_path / "good").write_bytes(GOOD)
    decompress(tmp_path / "good", tmp_path / "base", tmp_path / "out", "half")
    assert load_file(tmp_path / "out")["w"].tolist() == [1, 2, 3]
    (tmp_path / "out").unlink()
    (tmp_path / "sent").write_bytes(HOSTILE[name])
    with pytest.raises(PipelineError, match="update-unsound"):
        decompress(tmp_path / "sent", tmp_path / "base", tmp_path / "out", "half")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "good", "sent"]


def test_places_that_are_not_there_are_refused(tmp_path: Path) -> None:
    save_file({"w": np.zeros(4, np.float32)}, tmp_path / "base")
    coding = coding_for("topk", 0.5)
    values = bytearray(coding.encode(np.float32([1, 0, 0, 2])))
    values[1] = 200  # the second gap's lowest byte
    (tmp_path / "sent").write_bytes(MAGIC + record(3, bytes(values)))
    with pytest.raises(PipelineError, match="update-unsound"):
        decompress(tmp_path / "sent", tmp_path / "base", tmp_path / "out", "topk", fraction=0.5)


def test_a_site_may_always_send_every_bit(tmp_path: Path) -> None:
    save_file({"w": np.float32([1e-9, 2, 3])}, tmp_path / "base")
    compress(tmp_path / "base", tmp_path / "sent", "lossless")
    decompress(tmp_path / "sent", tmp_path / "base", tmp_path / "out", "int8")
    assert load_file(tmp_path / "out")["w"].tolist() == np.float32([1e-9, 2, 3]).tolist()
