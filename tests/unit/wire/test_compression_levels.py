"""How a plan's compression and what a silo offers come to one level: never one that loses more than the plan asks."""

from typing import get_args

import pytest

from pipelines.compression.coding import Level
from silo_node.wire.compression import (
    LEVELS,
    Compression,
    Half,
    Int8,
    LevelName,
    Lossless,
    TopK,
    Uncompressed,
    agreed,
    at_level,
    levels_up_to,
    loses_more,
)
from silo_node.wire.errors import WireError


@pytest.mark.parametrize(
    ("asked", "offered", "level"),
    [
        (TopK(), ("none", "lossless", "half"), "half"),
        (TopK(), levels_up_to("topk"), "topk"),
        (Int8(), levels_up_to("topk"), "int8"),
        (Half(), ("int8", "topk"), "lossless"),
        (Int8(), (), "lossless"),
        (Int8(), ("fp4", "half"), "half"),
        (Lossless(), (), "lossless"),
        (Uncompressed(), levels_up_to("topk"), "none"),
        (Int8(), None, "int8"),
    ],
)
def test_the_lossiest_common_level_within_the_plan_is_agreed_on(
    asked: Compression, offered: tuple[str, ...] | None, level: str
) -> None:
    """Names of another release are passed over, lossless is always common, and who does not negotiate does as asked."""
    assert agreed(asked, offered).level == level


def test_a_level_keeps_the_plans_parameters() -> None:
    asked = TopK(fraction=0.01)
    assert agreed(asked, LEVELS) == at_level(asked, "topk") == asked


def test_an_unknown_level_is_a_coded_refusal() -> None:
    for call in (lambda: at_level(Half(), "fp4"), lambda: loses_more("fp4", "half"), lambda: loses_more("half", "fp4")):
        with pytest.raises(WireError, match="compression-unknown"):
            call()


def test_every_level_of_a_plan_has_its_place_and_its_coding() -> None:
    assert get_args(LevelName) == LEVELS == ("none", *get_args(Level))
    assert not any(loses_more(low, high) for place, high in enumerate(LEVELS) for low in LEVELS[: place + 1])
