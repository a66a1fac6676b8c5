"""Where tensors lie in a safetensors file, and which files are refused before anything of them is read."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from federation_hub.aggregation.layout import header_bytes, read_layout
from silo_node.wire.errors import IntegrityError
from tests.unit.aggregation.files import write


def header_file(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(begin: int, end: int, shape: list[object], dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_reads_what_the_reference_library_wrote(tmp_path: Path) -> None:
    """Names, shapes, dtypes and the position of every value agree with the file's own bytes."""
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(7, np.int64), "e": np.empty((0, 3))}
    path = write(tmp_path / "f", arrays, {"format": "np"})
    layout = read_layout(path)
    assert {t.name: (t.dtype, t.shape) for t in layout.tensors} == {
        "a": ("F32", (2, 3)),
        "n": ("I64", ()),
        "e": ("F64", (0, 3)),
    }
    raw = path.read_bytes()
    for name, array in arrays.items():
        tensor = layout.by_name[name]
        assert raw[tensor.begin : tensor.begin + tensor.size] == array.tobytes()


def test_the_reference_library_reads_our_header(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(1.5, np.float32)}
    layout = read_layout(write(tmp_path / "f", arrays))
    data = b"".join(arrays[tensor.name].tobytes() for tensor in layout.tensors)
    (tmp_path / "g").write_bytes(header_bytes(layout.tensors) + data)
    read = load_file(tmp_path / "g")
    assert set(read) == set(arrays)
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": entry(0, 8, [2])}, b"1234567"),
        ({"a": entry(0, 8, [2])}, b"123456789"),
        ({"a": entry(0, 8, [3])}, b"12345678"),
        ({"a": entry(4, 8, [1])}, b"12345678"),
        ({"a": entry(0, 4, [1]), "b": entry(0, 4, [1])}, b"1234"),
        ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, b"123456789012"),
        ({"a": entry(0, 4, [1], "F31")}, b"1234"),
        ({"a": entry(0, 4, [1], ["F32"])}, b"1234"),
        ({"a": entry(0, 4, [True])}, b"1234"),
        ({"a": entry(0, 4, [-1, -1])}, b"1234"),
        ({"a": entry(0, 4, [1.0])}, b"1234"),
        ({"a": entry(0, 4, [1]) | {"weight": 3}}, b"1234"),
        ({"a": [0, 4]}, b"1234"),
        ([], b""),
        (b'{"a":1,"a":1}', b""),
        (b'{"a":', b""),
        (b"[" * 5000, b""),
    ],
)
def test_an_unsound_file_is_refused(tmp_path: Path, header: object, data: bytes) -> None:
    """Cut or padded data, gaps, overlaps, wrong sizes, unknown dtypes, duplicate names, JSON that is none."""
    with pytest.raises(IntegrityError, match="weights-invalid"):
        read_layout(header_file(tmp_path / "f", header, data))


@pytest.mark.parametrize("content", [b"", b"1234567", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 3) + b"{}"])
def test_a_header_length_that_cannot_be_is_refused_before_reading(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(IntegrityError, match="weights-invalid"):
        read_layout(tmp_path / "f")
