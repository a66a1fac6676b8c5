"""The methods page, read from the code that computes the numbers: it cannot say one thing and the code do another."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from benchmarks.statistics.quantities import Quantity

PACKAGE = "benchmarks.statistics"
CHAPTERS: tuple[tuple[str, str], ...] = (
    ("ranking", "Ranks as ranges"),
    ("ties", "Ties and comparisons"),
    ("pooling", "From hospitals to one number"),
    ("leaderboard", "The leaderboard"),
    ("delong", "AUROC at a hospital"),
    ("classification", "Classification at a hospital"),
    ("segmentation", "Segmentation at a hospital"),
    ("bootstrap", "Other metrics at a hospital"),
    ("calibration", "Calibration"),
    ("curves", "Curves over hospitals"),
    ("tables", "Counts over hospitals"),
    ("disclosure", "What is never told"),
    ("validate", "What is refused"),
)
_CODE = re.compile(r"``([^`]+)``|:[a-z]+:`~?([^`]+)`")


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """One function of the statistics, in its own words."""

    title: str
    name: str
    paragraphs: tuple[Markup, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """One module of the statistics, in its own words."""

    title: str
    anchor: str
    module: str
    paragraphs: tuple[Markup, ...]
    entries: tuple[MethodEntry, ...]


@cache
def quantities() -> "tuple[Quantity, ...]":
    """Return every published number in words, with its formula and source, from the register beside the code."""
    from benchmarks.statistics.quantities import quantities as registered

    return registered()


@cache
def chapters() -> tuple[Chapter, ...]:
    """Return the methods page's chapters."""
    return tuple(_chapter(import_module(f"{PACKAGE}.{name}"), name, title) for name, title in CHAPTERS)


def _chapter(module: ModuleType, name: str, title: str) -> Chapter:
    return Chapter(title, name, module.__name__, paragraphs(inspect.getdoc(module) or ""), tuple(_entries(module)))


def _entries(module: ModuleType) -> Iterator[MethodEntry]:
    for name, function in vars(module).items():
        described = inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
        if described and function.__doc__:
            title = name.replace("_", " ").capitalize()
            yield MethodEntry(title, f"{module.__name__}.{name}", paragraphs(inspect.getdoc(function) or ""))


def paragraphs(docstring: str) -> tuple[Markup, ...]:
    """Return a docstring's paragraphs as escaped markup; ``literals`` and references become code."""
    blocks = [" ".join(block.split()) for block in docstring.split("\n\n")]
    return tuple(_inline(block) for block in blocks if block and block != "::")


def _inline(text: str) -> Markup:
    pieces, place = Markup(), 0
    for match in _CODE.finditer(text):
        pieces += escape(text[place : match.start()]) + Markup("<code>{}</code>").format(match[1] or match[2])
        place = match.end()
    return pieces + escape(text[place:])
