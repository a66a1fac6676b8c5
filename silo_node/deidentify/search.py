"""Looking for many texts in many bytes: does anything that was written hold what tells who a patient is?

One search holds the identifiers of a whole site and reads each byte once. Text may lie in a file as UTF-8, Latin-1 or
UTF-16, in capitals or not, between the numbers of an array or in a data base's pages. Identifiers under six bytes count
only as whole words of a text that people read: three letters occur by chance in every array.
"""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from silo_node.deidentify.attributes import BODY_PARTS, VOCABULARY
from silo_node.deidentify.identifiers import Identifiers

SHORTEST_DIGITS = 8
"""Shorter numbers occur by chance in numbers."""

FEWEST_CHARACTERS = 2
"""Texts of fewer different characters, such as 00000000, occur in flat arrays."""

_GRAM = 6
_DIGEST = 16
_HEX = re.compile(rb"[0-9a-f]+")
_WORD = re.compile(r"\w+")

OWN_WORDS = frozenset(value for values in VOCABULARY.values() for value in values) | frozenset(BODY_PARTS)
"""What a case may keep is no leak, though a header says it too."""


class IdentifierSearch:
    """A search for one set of identifiers."""

    def __init__(self, identifiers: Identifiers, *, allowed: Iterable[str] = ()) -> None:
        """``allowed`` are texts the output may hold for reasons of its own, such as a benchmark's labels."""
        harmless = OWN_WORDS | {text.lower() for text in allowed}
        wanted = (identifiers.certain | identifiers.other) - harmless
        self._words = frozenset(text for text in identifiers.certain - harmless if _WORD.fullmatch(text))
        self._needles: dict[bytes, list[bytes]] = {}
        for needle in {spelled for text in wanted if _rare(text) for spelled in _spellings(text)}:
            self._needles.setdefault(needle[:_GRAM], []).append(needle)
        # Two tables over three bytes each tell almost every place of an array apart from the beginning of a text.
        self._first, self._second = np.zeros(2**24, bool), np.zeros(2**24, bool)
        for gram in self._needles:
            self._first[int.from_bytes(gram[:3])] = self._second[int.from_bytes(gram[3:])] = True

    def in_bytes(self, data: bytes) -> bool:
        """Tell whether an identifier is somewhere in the bytes of any file."""
        if not self._needles:
            return False
        # UTF-16 of most languages is the Latin letters with zeros between.
        return self._in(data.lower()) or (b"\0" in data and self._in(data.replace(b"\0", b"").lower()))

    def in_text(self, text: str) -> bool:
        """Tell whether an identifier, even a short one, is in a text that people read."""
        return bool(self._words & set(_WORD.findall(text.lower()))) or self.in_bytes(text.encode())

    def _in(self, data: bytes) -> bool:
        if len(data) < _GRAM:
            return False
        codes = _three_byte_codes(data)
        places = np.flatnonzero(self._first[codes[:-3]] & self._second[codes[3:]])
        return any(
            data.startswith(needle, place) and not _in_digest(data, place, needle)
            for place in places.tolist()
            for needle in self._needles.get(data[place : place + _GRAM], ())
        )


def _three_byte_codes(data: bytes) -> Any:
    values = np.frombuffer(data, np.uint8).astype(np.uint32)
    return (values[:-2] << 16) | (values[1:-1] << 8) | values[2:]


def _in_digest(data: bytes, place: int, needle: bytes) -> bool:
    """Tell whether a number, or a word of hexadecimal letters, is by chance inside a pseudonym or a digest."""
    if not _HEX.fullmatch(needle):
        return False
    around = data[max(0, place - _DIGEST) : place + len(needle) + _DIGEST]
    run = next(run for run in _HEX.finditer(around) if run.end() > min(place, _DIGEST))
    return len(run.group()) >= _DIGEST and any(letter in run.group() for letter in b"abcdef")


def _rare(text: str) -> bool:
    long_enough = len(text) >= (SHORTEST_DIGITS if text.isdigit() else _GRAM)
    return long_enough and len(set(text)) > FEWEST_CHARACTERS


def _spellings(text: str) -> set[bytes]:
    """Return a text as its bytes lie in a file after ``bytes.lower``, which leaves other letters than a to z alone."""
    # UTF-16 of Latin letters is found with its zeros taken out; that of other scripts has none.
    encodings = ("utf-8", "latin-1") if text.isascii() else ("utf-8", "latin-1", "utf-16-le")
    found = {form.encode(encoding, errors="ignore").lower() for form in (text, text.upper()) for encoding in encodings}
    return {data for data in found if len(data) >= _GRAM}
