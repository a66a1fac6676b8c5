"""How the files of updates are made smaller: a level the plan fixes, so that everybody has agreed to it."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field

from silo_node.wire.base import Message


class Uncompressed(Message):
    """Plain safetensors; the only level that goes with secure aggregation, whose words are noise."""

    level: Literal["none"] = "none"


class Lossless(Message):
    """Every bit, byte-shuffled and packed."""

    level: Literal["lossless"] = "lossless"


class Half(Message):
    """Half precision after a power of two for each block."""

    level: Literal["half"] = "half"


class Int8(Message):
    """A byte a weight with a scale for 1024 of them; what rounding loses stays at the site and is sent next time."""

    level: Literal["int8"] = "int8"


class TopK(Message):
    """The largest changes of each block only; what is left out stays at the site and is sent when it has grown."""

    level: Literal["topk"] = "topk"
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.05
    """The part of the weights that is sent."""


def _named(value: object) -> object:
    return {"level": value} if isinstance(value, str) else value


Compression = Annotated[Uncompressed | Lossless | Half | Int8 | TopK, Discriminator("level"), BeforeValidator(_named)]

KEEPS_A_RESIDUAL = frozenset({"int8", "topk"})
"""Levels with error feedback."""


def fraction_of(compression: Compression) -> float:
    """Return the part of the weights that is sent."""
    return compression.fraction if isinstance(compression, TopK) else 1.0
