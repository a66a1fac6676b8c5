"""Update files as streams of words, masked or summed a block at a time: memory depends on neither model nor sites.

The order of values is that of the tensors' names, so files that lay their tensors out differently fit together.
"""

import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path

import numpy as np

from pipelines.bundles.weights import Tensor, WeightsIndex, read_weights_index, refuse_other_dtypes
from pipelines.errors import PipelineError
from pipelines.masking.fixed_point import (
    CHECK_WORDS,
    Bits,
    FixedPoint,
    Float32,
    Words,
    check_words,
    sum_is_whole,
)
from pipelines.masking.keystream import BLOCK_WORDS, Keystream

_FLOAT_BYTES = 4

Source = Callable[[], Iterator[Words]]
"""Begin a stream of one site's words: blocks of :data:`BLOCK_WORDS` values, the rest of them, then the check words.

A block may be overwritten by the next one."""


@dataclass(frozen=True)
class Masks:
    """The seeds of the masks to add to a stream and of those to take from it."""

    added: tuple[bytes, ...] = ()
    taken: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class WeightedSum:
    """What a sum of words means: how the values were encoded, and by whom they were weighted."""

    encoding: FixedPoint
    weight: int
    sites: int


def masked_size(values: int, bits: Bits = 32) -> int:
    """Return the length in bytes of a masked update with so many values."""
    return (values + CHECK_WORDS) * bits // 8


def encoded(update: Path, encoding: FixedPoint, weight: int) -> Source:
    """Return the words of a plain update, a safetensors file of float32."""

    def stream() -> Iterator[Words]:
        wide, words = np.empty(BLOCK_WORDS), np.empty(BLOCK_WORDS, encoding.word)
        for values in _values(update):
            encoding.encode(values, weight, wide[: len(values)], words[: len(values)])
            yield words[: len(values)]
        yield check_words(weight, encoding.bits)

    return stream


def stored(masked: Path, values: int, bits: Bits = 32) -> Source:
    """Return the words of a masked update; raises ``update-unsound`` where the file has another length."""
    if masked.stat().st_size != masked_size(values, bits):
        raise PipelineError("update-unsound", "a masked update has another length")

    def stream() -> Iterator[Words]:
        words = np.empty(BLOCK_WORDS, f"<u{bits // 8}")
        with masked.open("rb", buffering=0) as file:
            for count in (*_counts(values), CHECK_WORDS):
                _fill(file.fileno(), words[:count].data.cast("B"))
                yield words[:count]

    return stream


def write_masked(source: Source, masks: Masks, out: Path) -> None:
    """Write a site's masked words; the file is complete and on disk, or not there."""
    partial = out.with_name(out.name + ".partial")
    with partial.open("wb", buffering=0) as file:
        for words in _masked(source(), masks):
            file.write(words.data)
        os.fsync(file.fileno())
    partial.replace(out)


def write_mean(sources: Sequence[Source], masks: Masks, meaning: WeightedSum, like: Path, out: Path) -> None:
    """Add the sites' words up, take the masks that are left away and write the weighted mean as a safetensors file.

    ``like`` is a file with the same tensors. Raises ``masking-incomplete`` where a mask is left in the sum: it is
    exact, or there is none.
    """
    index = read_weights_index(like)
    total = sum(math.prod(tensor.shape) for tensor in index.tensors)
    partial = out.with_name(out.name + ".partial")
    with partial.open("wb", buffering=0) as file:
        file.write(_header(index))
        done = 0
        for words in _masked(_summed([source() for source in sources]), masks):
            if done < total:
                file.write(meaning.encoding.decode(words, meaning.weight).data)
            elif not sum_is_whole(words, meaning.weight, meaning.sites):
                raise PipelineError("masking-incomplete", "a mask is left in the sum")
            done += len(words)
        os.fsync(file.fileno())
    partial.replace(out)


def _masked(blocks: Iterator[Words], masks: Masks) -> Iterator[Words]:
    added = [Keystream(seed) for seed in masks.added]
    taken = [Keystream(seed) for seed in masks.taken]
    for words in blocks:
        for mask in added:
            mask.add_to(words)
        for mask in taken:
            mask.take_from(words)
        yield words


def _summed(streams: Sequence[Iterator[Words]]) -> Iterator[Words]:
    for blocks in zip(*streams, strict=True):
        total = blocks[0].copy()
        for words in blocks[1:]:
            np.add(total, words, out=total)
        yield total


def _in_order(index: WeightsIndex) -> list[Tensor]:
    return sorted(index.tensors, key=lambda tensor: tensor.name)


def _values(path: Path) -> Iterator[Float32]:
    """Yield a file's values in the order of names, in full blocks and a rest, each overwritten by the next."""
    index = read_weights_index(path)
    refuse_other_dtypes(index)
    buffer = np.empty(BLOCK_WORDS, np.float32)
    filled = 0
    with path.open("rb", buffering=0) as file:
        for tensor in _in_order(index):
            position, left = index.data_start + tensor.begin, math.prod(tensor.shape)
            while left:
                count = min(left, BLOCK_WORDS - filled)
                file.seek(position)
                _fill(file.fileno(), buffer[filled : filled + count].data.cast("B"))
                position, left, filled = position + _FLOAT_BYTES * count, left - count, filled + count
                if filled == BLOCK_WORDS:
                    yield buffer
                    filled = 0
    if filled:
        yield buffer[:filled]


def _counts(values: int) -> list[int]:
    rest = values % BLOCK_WORDS
    return [BLOCK_WORDS] * (values // BLOCK_WORDS) + ([rest] if rest else [])


def _fill(descriptor: int, target: memoryview) -> None:
    filled = 0
    while filled < len(target):
        count = os.readv(descriptor, [target[filled:]])
        if count == 0:
            raise PipelineError("update-unsound", "a file is shorter than it was")
        filled += count


def _header(index: WeightsIndex) -> bytes:
    entries, begin = {}, 0
    for tensor in _in_order(index):
        end = begin + _FLOAT_BYTES * math.prod(tensor.shape)
        entries[tensor.name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
