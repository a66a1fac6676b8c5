"""What every published number is: in words, as a formula, and from which source, beside the function that computes it.

The methods page prints this register, and a test walks a whole leaderboard and finds each of its numbers here.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

MODULES = (
    "delong",
    "classification",
    "calibration",
    "segmentation",
    "moments",
    "pooling",
    "summaries",
    "ties",
    "ranking",
    "sensitivity",
    "rows",
    "tables",
    "curves",
)
"""The modules that publish something, in the order in which a number is made."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A published number. ``keys`` are its names in a leaderboard; ``code`` is the function that computes it."""

    keys: tuple[str, ...]
    title: str
    words: str
    formula: str
    source: str
    code: str


_REGISTER: list[Quantity] = []


def publishes(*keys: str, title: str, formula: str, source: str, words: str = "") -> Callable[[F], F]:
    """Enter what a function publishes; without ``words`` the first sentence of its docstring stands for them."""

    def enter(function: F) -> F:
        said = words or (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").removeprefix("Return ")
        said = said[:1].upper() + said[1:]
        code = f"{function.__module__}.{function.__qualname__}"
        _REGISTER.append(Quantity(keys, title, said, formula, source, code))
        return function

    return enter


def quantities() -> tuple[Quantity, ...]:
    """Return every published quantity, in the order in which a number is made."""
    for name in MODULES:
        import_module(f"benchmarks.statistics.{name}")
    order = {f"benchmarks.statistics.{name}": place for place, name in enumerate(MODULES)}
    return tuple(sorted(_REGISTER, key=lambda one: order[one.code.rpartition(".")[0]]))


def by_key() -> Mapping[str, Quantity]:
    """Return the quantity that each name in a leaderboard is."""
    return {key: quantity for quantity in quantities() for key in quantity.keys}
