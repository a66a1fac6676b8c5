"""Compressed update files: written at a site from a safetensors file, read at the hub by the schema of the base model.

A file is a magic, then one record a block: the coding's mark (1 byte), the length (4 bytes), and a Zstandard frame.
Blocks follow the tensors in the order of their names; names, shapes and dtypes are the base model's, so there is no
room for anything else. A block's size is known before it is unpacked, and no frame may unpack to any other.

Running statistics are never mixed with weights: whatever the level, they travel exactly, and no residual is kept.
"""

import math
import os
import struct
import threading
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zstandard

from pipelines.bundles.weights import Tensor, WeightsIndex, read_weights_index, refuse_other_dtypes
from pipelines.compression.coding import EXACT, Coding, Float32, Level, coding_for
from pipelines.errors import PipelineError

MAGIC = b"MSUPDAT1"
BLOCK_VALUES = 1 << 18
BUFFERS = (".running_mean", ".running_var")
"""How the names of running statistics end; no other buffer of a registered network is a float."""

_RECORD = struct.Struct("<BI")
_ZSTD_LEVEL = 1
_LARGEST_WINDOW = 1 << 23


def compress(
    update: Path,
    out: Path,
    level: Level,
    *,
    fraction: float = 1.0,
    residual: Path | None = None,
    left: Path | None = None,
) -> None:
    """Write a compressed update; what rounding lost is written to ``left``, to be given as ``residual`` next time.

    Error feedback (Seide et al. 2014, Karimireddy et al. 2019): the earlier ``residual`` is added before coding.
    """
    coding = coding_for(level, fraction)
    packer = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    index = read_weights_index(update)
    refuse_other_dtypes(index)
    earlier = read_weights_index(residual) if residual is not None else None
    with _Writing(out) as file, _Writing(left) as losses:
        file.write(MAGIC)
        losses.write(_header(index.tensors))
        for tensor in _in_order(index.tensors):
            chosen = EXACT if is_buffer(tensor.name) else coding
            for start, count in _cuts(tensor):
                wanted = _read_block(update, index, tensor.name, start, count)
                if residual is not None and earlier is not None and not is_buffer(tensor.name):
                    wanted = wanted + _read_block(residual, earlier, tensor.name, start, count)
                data = chosen.encode(wanted)
                frame = packer.compress(data)
                file.write(_RECORD.pack(chosen.mark, len(frame)) + frame)
                if left is not None:
                    losses.write((wanted - chosen.decode(data, count)).astype("<f4").tobytes())


def decompress(compressed: Path, base: Path, out: Path, level: Level, *, fraction: float = 1.0) -> None:
    """Write the plain update of a compressed one, a safetensors file with the tensors of ``base``.

    Raises ``update-unsound`` for anything that is not exactly one block after the other of the agreed coding, or of
    float32, which a site may always send.
    """
    coding = coding_for(level, fraction)
    tensors = _in_order(read_weights_index(base).tensors)
    unpacker = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    with compressed.open("rb") as file, _Writing(out) as plain:
        if file.read(len(MAGIC)) != MAGIC:
            raise PipelineError("update-unsound", "not a compressed update")
        plain.write(_header(tensors))
        for tensor in tensors:
            for _, count in _cuts(tensor):
                allowed = (EXACT,) if is_buffer(tensor.name) else (EXACT, coding)
                plain.write(_unpacked(file, unpacker, allowed, count).astype("<f4").tobytes())
        if file.read(1):
            raise PipelineError("update-unsound", "bytes after the last block")


def is_compressed(path: Path) -> bool:
    """Return whether a file says that it is a compressed update."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def is_buffer(name: str) -> bool:
    """Return whether a tensor holds running statistics and not weights."""
    return name.endswith(BUFFERS)


def _unpacked(file: BinaryIO, unpacker: zstandard.ZstdDecompressor, allowed: tuple[Coding, ...], count: int) -> Float32:
    head = file.read(_RECORD.size)
    if len(head) != _RECORD.size:
        raise PipelineError("update-unsound", "it ends early")
    mark, length = _RECORD.unpack(head)
    coding = next((one for one in allowed if one.mark == mark), None)
    if coding is None or length > 2 * coding.size(count) + 1024:
        raise PipelineError("update-unsound", "a block in a coding that was not agreed, or too long")
    frame, size = file.read(length), coding.size(count)
    try:
        # What a frame says of itself is compared before a byte of it is unpacked.
        if zstandard.frame_content_size(frame) != size:
            raise PipelineError("update-unsound", "a block of another size than the schema's")
        data = unpacker.decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError:
        raise PipelineError("update-unsound", "a block that does not unpack") from None
    if len(data) != size:
        raise PipelineError("update-unsound", "a block of another size than the schema's")
    return coding.decode(data, count)


def _read_block(path: Path, index: WeightsIndex, name: str, start: int, count: int) -> Float32:
    tensor = next(tensor for tensor in index.tensors if tensor.name == name)
    return np.fromfile(path, "<f4", count, offset=index.data_start + tensor.begin + 4 * start).astype(np.float32)


def _cuts(tensor: Tensor) -> Iterator[tuple[int, int]]:
    values = math.prod(tensor.shape)
    for start in range(0, values, BLOCK_VALUES):
        yield start, min(BLOCK_VALUES, values - start)


def _in_order(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(sorted(tensors, key=lambda tensor: tensor.name))


def _header(tensors: tuple[Tensor, ...]) -> bytes:
    entries, begin = {}, 0
    for tensor in _in_order(tensors):
        end = begin + 4 * math.prod(tensor.shape)
        entries[tensor.name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


class _Writing:
    """A file that is whole and on disk after the block, or not there; without a path it swallows what it gets."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        name = f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial" if path else ""
        self._partial = path.with_name(name) if path else None
        self._file: BinaryIO | None = None

    def __enter__(self) -> "_Writing":
        self._file = self._partial.open("wb") if self._partial else None
        return self

    def write(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is None or self._partial is None or self._path is None:
            return
        if kind is None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)
