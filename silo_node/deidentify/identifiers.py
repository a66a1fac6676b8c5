"""What could tell who a patient is, collected from a source so that the output can be searched for it.

Collecting is the opposite of allow-listing: it takes every text there is, from every element, private block and nested
sequence, because the search must also find what the writer was never meant to see.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

SHORTEST_NAME = 3
"""Shorter name parts (initials) are in every text."""

SHORTEST_TEXT = 6
_WORD = re.compile(r"\w+")
_DATE = re.compile(r"^(\d{4})[-./]?(\d{2})[-./]?(\d{2})")


@dataclass(frozen=True)
class Identifiers:
    """Lower-case texts of one source case.

    ``certain`` identify by themselves: parts of names, patient and accession numbers, dates, the institution.
    ``other`` is free text, UIDs and whatever a private element holds.
    """

    certain: frozenset[str] = frozenset()
    other: frozenset[str] = frozenset()

    def __or__(self, more: "Identifiers") -> "Identifiers":
        return Identifiers(self.certain | more.certain, self.other | more.other)


def names(values: Iterable[str]) -> frozenset[str]:
    """Return the parts of persons' names that are long enough to search for."""
    words = (word.lower() for value in values for word in _WORD.findall(value.replace("_", " ")))
    return frozenset(word for word in words if len(word) >= SHORTEST_NAME and not word.isdigit())


def numbers(values: Iterable[str]) -> frozenset[str]:
    """Return patient, accession and other numbers, whole."""
    plain = (value.strip().lower() for value in values)
    return frozenset(value for value in plain if len(value) >= SHORTEST_NAME)


def dates(values: Iterable[str]) -> frozenset[str]:
    """Return each date in the three spellings that files use: 19700131, 1970-01-31 and 31.01.1970."""
    matches = (_DATE.match(value.strip()) for value in values)
    return frozenset(
        text
        for year, month, day in (match.groups() for match in matches if match)
        for text in (f"{year}{month}{day}", f"{year}-{month}-{day}", f"{day}.{month}.{year}")
    )


def texts(values: Iterable[str]) -> frozenset[str]:
    """Return free texts, whole and line by line."""
    lines = (line.strip().lower() for value in values for line in value.splitlines())
    return frozenset(line for line in lines if len(line) >= SHORTEST_TEXT)
