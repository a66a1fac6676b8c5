"""Reading a safetensors header with limits, and looking at the numbers, without torch.

Layout (https://huggingface.co/docs/safetensors): 8 bytes little-endian length, that many bytes of JSON naming each
tensor's dtype, shape and byte range, then the bytes. A header is refused unless the ranges tile the rest of the file
exactly: no holes, no overlaps, no tail in which something else could hide.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipelines.errors import PipelineError

MAX_HEADER_BYTES = 8 * 1024 * 1024
MAX_TENSORS = 20_000
MAX_NAME = 256
MAX_RANK = 8
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_BLOCK = 1 << 20
_CODE = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How a zip archive and the binary pickles begin."""


@dataclass(frozen=True)
class Tensor:
    """One tensor's entry: name, dtype as safetensors spells it, shape, and byte range after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class WeightsIndex:
    """The checked header of a weights file. ``data_start`` is the absolute offset of the first tensor byte."""

    tensors: tuple[Tensor, ...]
    data_start: int

    @property
    def parameters(self) -> int:
        """Number of elements of all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)


def read_weights_index(path: Path, offset: int = 0, size: int | None = None) -> WeightsIndex:
    """Read and check the header of a safetensors file that lies at ``offset`` in ``path``.

    ``size`` is the length in bytes, by default to the end of the file. Raises ``weights-invalid``, or
    ``bundle-has-code`` where the bytes are a pickle or a zip archive (a PyTorch checkpoint) instead.
    """
    with path.open("rb") as file:
        length = (path.stat().st_size - offset) if size is None else size
        file.seek(offset)
        header = _read_header(file, length)
        data_start = offset + 8 + len(header)
        tensors = sorted(_entries(header), key=lambda tensor: (tensor.begin, tensor.end))
    _tile(tensors, length - 8 - len(header))
    return WeightsIndex(tuple(tensors), data_start)


def refuse_not_finite(path: Path, index: WeightsIndex) -> None:
    """Raise ``weights-invalid`` naming the first tensor with a NaN or an infinity; reads a megabyte at a time."""
    for tensor in index.tensors:
        for block in _blocks(path, index, tensor):
            if not np.isfinite(block).all():
                raise PipelineError("weights-invalid", f"tensor {tensor.name} holds a NaN or an infinity")


def refuse_other_dtypes(index: WeightsIndex) -> None:
    """Raise ``weights-mismatch`` naming the first tensor that is not float32: integer buffers never travel."""
    for tensor in index.tensors:
        if tensor.dtype != "F32":
            raise PipelineError("weights-mismatch", f"tensor {tensor.name} is {tensor.dtype}, not F32")


def read_tensors(path: Path, index: WeightsIndex) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Read all tensors as float32 arrays of their own memory; raises ``weights-mismatch`` for another dtype."""
    refuse_other_dtypes(index)
    arrays = {}
    with path.open("rb") as file:
        for tensor in index.tensors:
            file.seek(index.data_start + tensor.begin)
            data = bytearray(file.read(tensor.end - tensor.begin))
            if len(data) != tensor.end - tensor.begin:
                raise PipelineError("weights-invalid", "the file ends early")
            arrays[tensor.name] = np.frombuffer(data, "<f4").reshape(tensor.shape)
    return arrays


def _blocks(path: Path, index: WeightsIndex, tensor: Tensor) -> Iterator[np.ndarray[Any, Any]]:
    if tensor.dtype not in ("F32", "F64", "F16") or tensor.end == tensor.begin:
        return
    kind = np.dtype({"F32": "<f4", "F64": "<f8", "F16": "<f2"}[tensor.dtype])
    with path.open("rb") as file:
        file.seek(index.data_start + tensor.begin)
        left = tensor.end - tensor.begin
        while left:
            data = file.read(min(left, _BLOCK))
            if not data:
                raise PipelineError("weights-invalid", "the file ends early")
            yield np.frombuffer(data, kind)
            left -= len(data)


def _read_header(file: BinaryIO, length: int) -> bytes:
    start = file.tell()
    prefix = file.read(min(9, length))
    size = int.from_bytes(prefix[:8], "little")
    too_long = size > min(MAX_HEADER_BYTES, length - 8)
    # The length of a header may begin like a pickle or an archive: 640 bytes do. What follows it tells them apart.
    if prefix[:2] in _CODE and (too_long or prefix[8:] != b"{"):
        raise PipelineError("bundle-has-code", "the weights are a pickle or a checkpoint archive, not safetensors")
    if len(prefix) < 8:
        raise PipelineError("weights-invalid", "the file is too short")
    if too_long:
        raise PipelineError("weights-invalid", "the header is longer than the file or the limit")
    file.seek(start + 8)
    header = file.read(size)
    if len(header) != size:
        raise PipelineError("weights-invalid", "the file ends inside the header")
    return header


def _entries(header: bytes) -> list[Tensor]:
    try:
        value = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise PipelineError("weights-invalid", "the header is not sound JSON") from None
    if not isinstance(value, dict):
        raise PipelineError("weights-invalid", "the header is not an object")
    notes = value.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(entry, str) for entry in notes.values()):
        raise PipelineError("weights-invalid", "__metadata__ is not a map of strings")
    if not 0 < len(value) <= MAX_TENSORS:
        raise PipelineError("weights-invalid", f"not between 1 and {MAX_TENSORS} tensors")
    return [_entry(name, entry) for name, entry in value.items()]


def _entry(name: str, entry: Any) -> Tensor:
    if not (0 < len(name) <= MAX_NAME and name.isascii() and name.isprintable()):
        raise PipelineError("weights-invalid", "a tensor's name is too long or not printable ASCII")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise PipelineError("weights-invalid", f"tensor {name}: not exactly dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not (_counts(shape) and len(shape) <= MAX_RANK and _counts(offsets) and len(offsets) == 2):
        raise PipelineError("weights-invalid", f"tensor {name}: shape or offsets are not sound")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPE_BYTES:
        raise PipelineError("weights-invalid", f"tensor {name}: unknown dtype")
    if offsets[1] - offsets[0] != math.prod(shape) * DTYPE_BYTES[entry["dtype"]]:
        raise PipelineError("weights-invalid", f"tensor {name}: shape and byte range disagree")
    return Tensor(name, entry["dtype"], tuple(shape), offsets[0], offsets[1])


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(entry) is int and 0 <= entry < 2**40 for entry in value)


def _tile(tensors: list[Tensor], size: int) -> None:
    position = 0
    for tensor in tensors:
        if tensor.begin != position:
            raise PipelineError("weights-invalid", f"tensor {tensor.name}: overlaps another, or leaves a gap")
        position = tensor.end
    if position != size:
        raise PipelineError("weights-invalid", "the file is shorter or longer than its tensors")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)
