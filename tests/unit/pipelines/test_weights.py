"""The safetensors header: sound files are read as the library reads them, and forged ones are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from pipelines.bundles.weights import MAX_HEADER_BYTES, read_tensors, read_weights_index
from pipelines.errors import PipelineError


def forged(header: dict[str, Any] | bytes, data: bytes = b"\0" * 16) -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    """A tensor's entry."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_sound_file_reads_as_the_library_reads_it(tmp_path: Path) -> None:
    """Names, shapes and numbers, a scalar and an empty tensor included."""
    random = np.random.default_rng(0)
    arrays = {
        "a.weight": random.random((3, 4), np.float32),
        "b": np.array(2, np.float32),
        "c": np.zeros((0, 3), np.float32),
    }
    path = tmp_path / "w.safetensors"
    path.write_bytes(save(arrays, {"format": "pt"}))
    read, expected = read_tensors(path, read_weights_index(path)), load(path.read_bytes())
    assert read.keys() == expected.keys()
    assert all(np.array_equal(read[name], expected[name]) for name in expected)


def test_a_file_inside_another_is_read_in_place(tmp_path: Path) -> None:
    """Bundles store their weights uncompressed for this."""
    inner = save({"a": np.arange(4, dtype=np.float32)})
    path = tmp_path / "outer"
    path.write_bytes(b"before" + inner + b"after")
    index = read_weights_index(path, 6, len(inner))
    assert read_tensors(path, index)["a"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("header", [0x0280, 0x0380, 0x0480, 0x0580, int.from_bytes(b"PK", "little") + 0x70000])
def test_a_header_whose_length_begins_like_a_pickle_or_an_archive_is_read(tmp_path: Path, header: int) -> None:
    """A file begins with that length: 640 bytes of header are the two bytes with which a pickle begins."""
    plain = save({"w": np.arange(6, dtype=np.float32)})
    length = int.from_bytes(plain[:8], "little")
    content = plain[8 : 8 + length].rstrip()
    path = tmp_path / "w.safetensors"
    path.write_bytes(header.to_bytes(8, "little") + content.ljust(header) + plain[8 + length :])
    assert read_tensors(path, read_weights_index(path))["w"].tolist() == load(path.read_bytes())["w"].tolist()


def test_tensors_that_were_read_can_be_changed(tmp_path: Path) -> None:
    """They are copies of the file, not views of it."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(save({"a": np.zeros(2, np.float32)}))
    read_tensors(path, read_weights_index(path))["a"][0] = 1
    assert read_tensors(path, read_weights_index(path))["a"][0] == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\0\0",
        forged({"a": entry(0, 16, [4])})[:-1],
        forged({"a": entry(0, 16, [4])}) + b"x",
        forged({"a": entry(0, 16, [4])})[:20],
        (2**62).to_bytes(8, "little") + b"{}",
        (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b" " * (MAX_HEADER_BYTES + 1),
        forged(b"[]"),
        forged(b"{"),
        forged({}),
        forged(b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "a": {}}'),
        forged({"a": entry(0, 8, [2]), "b": entry(4, 16, [3])}),
        forged({"a": entry(0, 8, [2]), "b": entry(12, 16, [1])}),
        forged({"a": entry(4, 16, [3])}),
        forged({"a": entry(0, 16, [5])}),
        forged({"a": entry(0, 16, [-4])}),
        forged({"a": entry(0, 16, [4.0])}),  # type: ignore[list-item]
        forged({"a": entry(0, 16, [True, 4])}),
        forged({"a": entry(0, 16, [2**39, 2**39])}),
        forged({"a": entry(0, 16, [1] * 9)}),
        forged({"a": entry(0, 16, [4], "F31")}),
        forged({"a": {**entry(0, 16, [4]), "extra": 1}}),
        forged({"a\n": entry(0, 16, [4])}),
        forged({"": entry(0, 16, [4])}),
        forged({"a": entry(0, 16, [4]), "__metadata__": {"x": 1}}),
    ],
)
def test_a_forged_or_truncated_file_is_refused(tmp_path: Path, data: bytes) -> None:
    """Truncation, tails, overlaps, gaps, lies about shapes, names that hide something, headers beyond the limit."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(PipelineError) as refused:
        read_weights_index(path)
    assert refused.value.code == "weights-invalid"
