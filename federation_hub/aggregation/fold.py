"""Drive a rule and an optimiser over the files of a round, writing the next global model as it goes.

One block of each file is in memory at a time, whatever the model's size and the number of silos. Updates are taken in
the order of their silo ids and every value is computed by itself in float64, so the bytes written depend neither on
who came first nor on the size of a block.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from federation_hub.aggregation.checks import check_schema
from federation_hub.aggregation.geometry import inner_products, stacked_block
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
from federation_hub.aggregation.optimisers import Optimiser, Turnout, optimiser_for
from federation_hub.aggregation.private_mean import PrivateMean
from federation_hub.aggregation.rules import Combine, Rule, Sites, rule_for
from silo_node.wire.digests import Hasher, finish, new_hasher
from silo_node.wire.strategies import Combination, FedAvg, Mean, Strategy, sites_needed


@dataclass(frozen=True)
class Update:
    """A verified update and the weight the hub gives it: the registered cohort's training cases."""

    silo_id: str
    path: Path
    weight: int
    discount: float = 1.0
    """What a stale update is multiplied with."""

    steps: int = 1
    """Local steps, by the plan and the registered cases; what the silo says does not matter."""


@dataclass(frozen=True)
class FoldedModel:
    """The file that was written: its digest was computed while writing."""

    digest: str
    size: int
    moments: Mapping[str, str] = field(default_factory=dict)
    """Digests of the optimiser's moments after this round, by name; each lies in :func:`moment_path`."""


@dataclass(frozen=True)
class _Source:
    """An open update."""

    descriptor: int
    layout: Layout
    discount: float = 1.0


def moment_path(out: Path, name: str) -> Path:
    """Return where a fold that writes ``out`` leaves a moment of its optimiser."""
    return out.with_name(f"{out.name}.{name}")


def fold(
    base: Path,
    updates: Sequence[Update],
    out: Path,
    *,
    strategy: Strategy | None = None,
    robust: Combination | None = None,
    moments: Mapping[str, Path] | None = None,
    population: int | None = None,
    rate: float = 1.0,
    private: PrivateMean | None = None,
    block_values: int = BLOCK_VALUES,
) -> FoldedModel:
    """Write the next global model to ``out`` (complete and on disk, or not there at all) and return its digest.

    ``base`` is the present global model, each update a file of float32 differences from it with the same names,
    shapes and dtypes. ``moments`` are the files of the optimiser's moments after the last round; none before the
    first. ``private`` takes the rule's place with a noisy mean. ``population`` are the training cases of all the
    study's silos, by default of those that answered; ``rate`` is the silos' learning rate. Raises
    :class:`IntegrityError` where a file does not fit the base, ``ValueError`` where there is nothing to weigh, a silo
    is named twice, or the rule promises nothing for so few updates.
    """
    robust = robust or Mean()
    ordered = _ordered(updates, sites_needed(robust))
    turnout = _turnout(ordered, population, rate)
    optimiser, layout = optimiser_for(strategy or FedAvg(), turnout), read_layout(base)
    paths = {"": out} | {name: moment_path(out, name) for name in optimiser.moments}
    with ExitStack() as stack:
        sources = [_open(stack, update.path, layout, update.discount) for update in ordered]
        kept = [
            _Moment(_open(stack, moments[name], layout) if moments else None, start)
            for name, start in optimiser.moments.items()
        ]
        combine = _combination(private.rule if private else rule_for(robust), ordered, sources, layout)
        size = min(block_values, stacked_block(len(sources)))
        folding = _Folding(_open(stack, base, layout), sources, combine, optimiser, kept, size)
        files = [stack.enter_context(_partial(path).open("wb", buffering=0)) for path in paths.values()]
        written = dict(zip(paths, _write(files, layout, folding), strict=True))
    for path in paths.values():
        _partial(path).replace(path)
    _sync_folder(out.parent)
    digest, length = written.pop("")
    return FoldedModel(digest, length, {name: found for name, (found, _) in written.items()})


def _ordered(updates: Sequence[Update], needed: int) -> list[Update]:
    ordered = sorted(updates, key=lambda update: update.silo_id)
    if len({update.silo_id for update in ordered}) != len(ordered):
        raise ValueError("a silo has two updates in one round")
    if not ordered or any(update.weight <= 0 for update in ordered):
        raise ValueError("a fold needs updates with positive weights")
    if len(ordered) < needed:
        raise ValueError(f"the rule needs {needed} updates and there are {len(ordered)}")
    return ordered


def _turnout(ordered: Sequence[Update], population: int | None, rate: float) -> Turnout:
    weights = tuple(update.weight for update in ordered)
    return Turnout(weights, tuple(update.steps for update in ordered), population or sum(weights), rate)


def _open(stack: ExitStack, path: Path, base: Layout, discount: float = 1.0) -> _Source:
    layout = read_layout(path)
    check_schema(layout, base)
    return _Source(stack.enter_context(path.open("rb", buffering=0)).fileno(), layout, discount)


def _combination(rule: Rule, updates: Sequence[Update], sources: Sequence[_Source], base: Layout) -> Combine:
    products = np.empty((0, 0))
    if rule.needs != "nothing":
        files = [(source.descriptor, source.layout) for source in sources]
        products = inner_products(files, base, norms_only=rule.needs == "norms")
        discounts = np.array([source.discount for source in sources])
        products *= np.outer(discounts, discounts)
    silo_ids = tuple(update.silo_id for update in updates)
    return rule.prepare(Sites(silo_ids, tuple(update.weight for update in updates), products))


class _Pair:
    """Two buffers taken in turns, so that one block is written while the next one is computed."""

    def __init__(self, size: int) -> None:
        self._now: Float32 = np.empty(size, np.float32)
        self._next: Float32 = np.empty(size, np.float32)

    def filled(self, wide: Float64) -> Float32:
        """Return the block rounded to single precision, a view that the call after the next one overwrites."""
        self._now, self._next = self._next, self._now
        self._now[: len(wide)] = wide
        return self._now[: len(wide)]


class _Moment:
    """A moment of the optimiser: the open file of the last round, or the value it starts from; and its buffers."""

    def __init__(self, source: _Source | None, start: float) -> None:
        self._source, self._start = source, start
        self._values: Float32 = np.empty(0, np.float32)
        self._wide: Float64 = np.empty(0)
        self._rounded = _Pair(0)

    def read(self, name: str, start: int, size: int) -> Float64:
        """Return a block in float64, to be changed in place."""
        if len(self._values) < size:
            self._values, self._wide, self._rounded = np.empty(size, np.float32), np.empty(size), _Pair(size)
        wide = self._wide[:size]
        if self._source is None:
            wide[:] = self._start
        else:
            wide[:] = read_block(self._source.descriptor, self._source.layout.by_name[name], start, self._values[:size])
        return wide

    def rounded(self, size: int) -> Float32:
        """Return the changed block as it is kept."""
        return self._rounded.filled(self._wide[:size])


class _Folding:
    """The buffers of one fold, used again for every block, and the rule and the optimiser that fill them."""

    def __init__(
        self,
        base: _Source,
        sources: Sequence[_Source],
        combine: Combine,
        optimiser: Optimiser,
        moments: Sequence[_Moment],
        block_values: int,
    ) -> None:
        self._base, self._sources, self._combine, self._moments = base, sources, combine, moments
        self._step, self._second = optimiser.step, optimiser.second
        self._other: Float64 = np.empty(block_values if self._second else 0, np.float64)
        self._base_values: Float32 = np.empty(block_values, np.float32)
        self._update_values: Float32 = np.empty((len(sources), block_values), np.float32)
        self._wide: Float64 = np.empty(block_values, np.float64)
        self._result = _Pair(block_values)

    def blocks(self, tensor: Tensor) -> Iterator[tuple[Float32, ...]]:
        """Yield one tensor's values of the next model and of each moment, as views that live until the next but one."""
        start = 0
        for base in float_blocks(self._base.descriptor, self._base.layout.by_name[tensor.name], self._base_values):
            size = len(base)
            wide = self._wide[:size]
            updates = self._updates(tensor.name, start, size)
            self._combine(updates, wide)
            arrays = [moment.read(tensor.name, start, size) for moment in self._moments]
            if self._second is not None:
                self._second(updates, self._other[:size])
                arrays.append(self._other[:size])
            self._step(base, wide, arrays)
            yield self._result.filled(wide), *(moment.rounded(size) for moment in self._moments)
            start += size

    def _updates(self, name: str, start: int, size: int) -> list[Float32]:
        blocks = []
        for source, buffer in zip(self._sources, self._update_values, strict=True):
            values = read_block(source.descriptor, source.layout.by_name[name], start, buffer[:size])
            if source.discount != 1.0:
                np.multiply(values, np.float32(source.discount), out=values)
            blocks.append(values)
        return blocks


def _write(files: Sequence[BinaryIO], layout: Layout, folding: _Folding) -> list[tuple[str, int]]:
    """Write the model and the moments side by side, and return the digest and the size of each file.

    One thread hashes and writes a block while this one computes the next.
    """
    hashers = [new_hasher() for _ in files]
    header = header_bytes(layout.tensors)
    sizes = [_append(file, hasher, header) for file, hasher in zip(files, hashers, strict=True)]

    def append(blocks: tuple[Float32, ...]) -> None:
        for place, block in enumerate(blocks):
            sizes[place] += _append(files[place], hashers[place], block.data.cast("B"))

    with ThreadPoolExecutor(1, thread_name_prefix="fold") as writer:
        writing: Future[None] | None = None
        for tensor in layout.tensors:
            for blocks in folding.blocks(tensor):
                if writing is not None:
                    writing.result()
                writing = writer.submit(append, blocks)
        if writing is not None:
            writing.result()
    for file in files:
        os.fsync(file.fileno())
    return [(finish(hasher), size) for hasher, size in zip(hashers, sizes, strict=True)]


def _append(file: BinaryIO, hasher: Hasher, data: bytes | memoryview) -> int:
    hasher.update(data)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    return len(data)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
