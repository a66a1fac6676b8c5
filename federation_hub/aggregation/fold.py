"""Drive a strategy over the files of a round, writing the next global model as it goes.

One block of each file is in memory at a time, whatever the model's size and the number of silos. Updates are taken in
the order of their silo ids and every value is computed by itself in float64, so the bytes written depend neither on
who came first nor on the size of a block.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from federation_hub.aggregation.checks import check_schema
from federation_hub.aggregation.layout import (
    BLOCK_VALUES,
    Float32,
    Float64,
    Layout,
    Tensor,
    float_blocks,
    header_bytes,
    read_block,
    read_layout,
)
from federation_hub.aggregation.strategies import STRATEGIES, Strategy
from silo_node.wire.digests import Hasher, finish, new_hasher


@dataclass(frozen=True)
class Update:
    """A verified update and the weight the hub gives it: the registered cohort's training cases."""

    silo_id: str
    path: Path
    weight: int


@dataclass(frozen=True)
class FoldedModel:
    """The file that was written: its digest was computed while writing."""

    digest: str
    size: int


@dataclass(frozen=True)
class _Source:
    """An open update."""

    descriptor: int
    layout: Layout
    weight: int


def fold(
    base: Path, updates: Sequence[Update], out: Path, *, strategy: str = "fedavg", block_values: int = BLOCK_VALUES
) -> FoldedModel:
    """Write the next global model to ``out`` (complete and on disk, or not there at all) and return its digest.

    ``base`` is the present global model, each update a file of float32 differences from it with the same names,
    shapes and dtypes. Raises :class:`IntegrityError` where an update does not fit the base, ``ValueError`` where
    there is nothing to weigh or a silo is named twice.
    """
    ordered = sorted(updates, key=lambda update: update.silo_id)
    if len({update.silo_id for update in ordered}) != len(ordered):
        raise ValueError("a silo has two updates in one round")
    if not ordered or any(update.weight <= 0 for update in ordered):
        raise ValueError("a fold needs updates with positive weights")
    layout = read_layout(base)
    partial = out.with_name(out.name + ".partial")
    with ExitStack() as stack:
        sources = [_open_source(stack, update, layout) for update in ordered]
        base_file = stack.enter_context(base.open("rb", buffering=0))
        out_file = stack.enter_context(partial.open("wb", buffering=0))
        rule = _Folding(base_file.fileno(), sources, STRATEGIES[strategy], block_values)
        folded = _write(out_file, layout, rule)
    partial.replace(out)
    _sync_folder(out.parent)
    return folded


def _open_source(stack: ExitStack, update: Update, base: Layout) -> _Source:
    layout = read_layout(update.path)
    check_schema(layout, base)
    file = stack.enter_context(update.path.open("rb", buffering=0))
    return _Source(file.fileno(), layout, update.weight)


class _Folding:
    """The buffers of one fold, used again for every block, and the rule that fills them."""

    def __init__(self, base: int, sources: Sequence[_Source], strategy: Strategy, block_values: int) -> None:
        self._base = base
        self._sources = sources
        self._strategy = strategy
        self._base_values: Float32 = np.empty(block_values, np.float32)
        self._update_values: Float32 = np.empty(block_values, np.float32)
        self._wide: Float64 = np.empty(block_values, np.float64)
        self._result: Float32 = np.empty(block_values, np.float32)

    def blocks(self, tensor: Tensor) -> Iterator[Float32]:
        """Yield the next model's values of one tensor, as views that the next block overwrites."""
        start = 0
        for base in float_blocks(self._base, tensor, self._base_values):
            size = len(base)
            self._strategy(base, self._updates(tensor.name, start, size), self._wide[:size])
            self._result[:size] = self._wide[:size]
            yield self._result[:size]
            start += size

    def _updates(self, name: str, start: int, size: int) -> Iterator[tuple[float, Float32]]:
        for source in self._sources:
            tensor = source.layout.by_name[name]
            yield float(source.weight), read_block(source.descriptor, tensor, start, self._update_values[:size])


def _write(file: BinaryIO, layout: Layout, folding: _Folding) -> FoldedModel:
    hasher = new_hasher()
    size = _append(file, hasher, header_bytes(layout.tensors))
    for tensor in layout.tensors:
        for block in folding.blocks(tensor):
            size += _append(file, hasher, block.data.cast("B"))
    os.fsync(file.fileno())
    return FoldedModel(finish(hasher), size)


def _append(file: BinaryIO, hasher: Hasher, data: bytes | memoryview) -> int:
    hasher.update(data)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    return len(data)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
