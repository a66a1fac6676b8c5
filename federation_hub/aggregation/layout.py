"""Where the tensors of a safetensors file lie, and reading their values block by block.

The header is read and checked by the same code that judges a submitted bundle. Values are read with ``preadv`` into a
caller's buffer: a memory map would count every page that was read as resident memory of the hub.
"""

import json
import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.bundles.weights import read_weights_index
from pipelines.errors import PipelineError
from silo_node.wire.errors import IntegrityError

BLOCK_VALUES = 1 << 15
"""Values of a tensor handled at once: a block of each array in use fits the second-level cache."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: its bytes are ``file[begin : begin + size]``, little-endian, in C order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    size: int

    @property
    def values(self) -> int:
        """How many numbers the tensor holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The tensors of one file in the order of their bytes."""

    tensors: tuple[Tensor, ...]

    @cached_property
    def by_name(self) -> dict[str, Tensor]:
        """The tensors by their names, which are unique."""
        return {tensor.name: tensor for tensor in self.tensors}


def read_layout(path: Path) -> Layout:
    """Read and check the header of a safetensors file.

    Raises :class:`IntegrityError` ``weights-invalid`` where the file is not a sound safetensors file: cut short or
    padded, with overlaps or gaps, sizes that do not follow from shape and dtype, or duplicate names.
    """
    try:
        index = read_weights_index(path)
    except PipelineError as error:
        raise IntegrityError("weights-invalid", error.detail) from error
    start = index.data_start
    return Layout(tuple(Tensor(t.name, t.dtype, t.shape, start + t.begin, t.end - t.begin) for t in index.tensors))


def header_bytes(tensors: Sequence[Tensor]) -> bytes:
    """Return the header of a file that holds these tensors one after the other, in this order.

    The same names, dtypes and shapes always give the same bytes; data begin at a multiple of eight.
    """
    entries: dict[str, object] = {}
    start = 0
    for tensor in tensors:
        end = start + tensor.size
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def read_exactly(descriptor: int, target: memoryview, offset: int) -> None:
    """Fill ``target`` with the file's bytes from ``offset``; ``OSError`` where the file ends before."""
    filled = 0
    while filled < len(target):
        count = os.preadv(descriptor, [target[filled:]], offset + filled)
        if count == 0:
            raise OSError("the file is shorter than it was")
        filled += count


def float_blocks(descriptor: int, tensor: Tensor, buffer: Float32) -> Iterator[Float32]:
    """Yield a float32 tensor's values in order, as views of ``buffer`` that the next block overwrites."""
    for start in range(0, tensor.values, len(buffer)):
        yield read_block(descriptor, tensor, start, buffer[: min(len(buffer), tensor.values - start)])


def read_block(descriptor: int, tensor: Tensor, start: int, target: Float32) -> Float32:
    """Read the values of a float32 tensor from value ``start`` on into ``target`` and return it."""
    read_exactly(descriptor, target.data.cast("B"), tensor.begin + 4 * start)
    return target
