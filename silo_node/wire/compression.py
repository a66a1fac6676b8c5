"""How the files of updates are made smaller: a level the plan asks for, and what each silo and the hub agree on.

Content negotiation, as of languages on the web: the plan asks, a silo states with its yes which levels it can and will
send, the hub tells it in each task what that comes to, and the report names the level the update was sent with.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field

from silo_node.wire.base import Message, Name
from silo_node.wire.errors import WireError


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


class OtherRelease(Message):
    """A level that only another release knows. A plan with one can be read, so that it is refused with a code."""

    level: Literal["unknown"] = "unknown"
    name: Name


LevelName = Literal["none", "lossless", "half", "int8", "topk"]
LEVELS: tuple[LevelName, ...] = get_args(LevelName)
"""All levels this release knows, from what loses nothing to what loses most: the order in which two sides agree."""


def _named(value: object) -> object:
    told = {"level": value} if isinstance(value, str) else value
    if isinstance(told, dict) and isinstance(told.get("level"), str) and told["level"] not in (*LEVELS, "unknown"):
        return {"level": "unknown", "name": told["level"]}  # whatever parameters it has
    return told


Known = Uncompressed | Lossless | Half | Int8 | TopK
"""A level this release can send and read."""

Compression = Annotated[Known | OtherRelease, Discriminator("level"), BeforeValidator(_named)]
_KNOWN: dict[str, Known] = {level.level: level for level in (Uncompressed(), Lossless(), Half(), Int8(), TopK())}

KEEPS_A_RESIDUAL = frozenset({"int8", "topk"})
"""Levels with error feedback."""


def levels_up_to(lossiest: LevelName) -> tuple[LevelName, ...]:
    """Return the levels that lose no more than this one, the most exact first."""
    return LEVELS[: LEVELS.index(lossiest) + 1]


def agreed(asked: Compression, offered: Iterable[str] | None) -> Known:
    """Return the lossiest offered level that loses no more than the one asked for.

    ``lossless`` and ``none`` are always common, so there always is one. Offers this release does not know are passed
    over; None is a side that does not negotiate and does as it is asked. Raises :class:`WireError`
    ``compression-unknown`` where the plan itself asks for a level of another release.
    """
    if isinstance(asked, OtherRelease):
        raise WireError("compression-unknown", asked.name)
    if offered is None or asked.level in ("none", "lossless"):
        return asked
    common = {"lossless", *offered}
    return at_level(asked, next(name for name in reversed(levels_up_to(asked.level)) if name in common))


def at_level(asked: Known, level: str) -> Known:
    """Return a level by its name, with the parameters of the one asked for where it is that one.

    Raises :class:`WireError` ``compression-unknown`` for a level of another release.
    """
    _place(level)
    return asked if asked.level == level else _KNOWN[level]


def loses_more(level: str, other: str) -> bool:
    """Tell whether a level loses more than another; raises :class:`WireError` ``compression-unknown``."""
    return _place(level) > _place(other)


def _place(level: str) -> int:
    if level not in _KNOWN:
        raise WireError("compression-unknown")
    return [*_KNOWN].index(level)


def fraction_of(compression: Known) -> float:
    """Return the part of the weights that is sent."""
    return compression.fraction if isinstance(compression, TopK) else 1.0
