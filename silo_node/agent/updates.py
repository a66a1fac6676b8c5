"""The last look at a model update before it may leave: exactly the round's tensors, and no room for anything else."""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from silo_node.wire.canonical import parse_object
from silo_node.wire.errors import WorkFailed

LONGEST_HEADER = 100_000_000
ALIGNMENT = 8
"""A safetensors header is padded with spaces to a multiple of this."""

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_METADATA = "__metadata__"


@dataclass(frozen=True)
class _Tensor:
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def kind(self) -> tuple[str, tuple[int, ...]]:
        return self.dtype, self.shape

    @property
    def packed(self) -> bool:
        return self.end - self.begin == prod(self.shape) * _BYTES[self.dtype]


def check_update(weights: Path, update: Path) -> None:
    """Compare an update's safetensors file with that of the weights it was trained from.

    Raises :class:`WorkFailed` ``output-invalid`` for other names, shapes or dtypes, for metadata (free text), and for
    bytes that belong to no tensor: a patient's image would fit into any of them.
    """
    if update.is_symlink() or not update.is_file():
        raise WorkFailed("output-invalid", "the update is not a file")
    wanted, found = _tensors(weights, metadata=True), _tensors(update, metadata=False)
    if {name: one.kind for name, one in wanted.items()} != {name: one.kind for name, one in found.items()}:
        raise WorkFailed("output-invalid", "the update has other tensors than the model")
    position = 0
    for tensor in sorted(found.values(), key=lambda one: (one.begin, one.end)):
        if tensor.begin != position or not tensor.packed:
            raise WorkFailed("output-invalid", "the update has bytes that belong to no tensor")
        position = tensor.end
    if update.stat().st_size != _header_end(update) + position:
        raise WorkFailed("output-invalid", "the update has bytes that belong to no tensor")


def _tensors(path: Path, *, metadata: bool) -> dict[str, _Tensor]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(ALIGNMENT), "little")
            if length > LONGEST_HEADER:
                raise ValueError
            text = file.read(length)
        header = parse_object(text)
        if not metadata and (_METADATA in header or not _compact(text, header)):
            raise ValueError
        return {name: _tensor(value) for name, value in header.items() if name != _METADATA}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise WorkFailed("output-invalid", f"{path.name} is not a plain safetensors file") from None


def _tensor(value: dict[str, Any]) -> _Tensor:
    begin, end = value["data_offsets"]
    tensor = _Tensor(value["dtype"], tuple(value["shape"]), begin, end)
    numbers = (*tensor.shape, begin, end)
    if len(value) != 3 or tensor.dtype not in _BYTES or any(type(one) is not int or one < 0 for one in numbers):
        raise ValueError
    return tensor


def _compact(text: bytes, header: dict[str, Any]) -> bool:
    """Return whether a header is written without room to spare."""
    padding = len(text) - len(text.rstrip(b" "))
    shortest = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return padding < ALIGNMENT and len(text) - padding == shortest


def _header_end(path: Path) -> int:
    with path.open("rb") as file:
        return ALIGNMENT + int.from_bytes(file.read(ALIGNMENT), "little")
