"""The last look at what is written outside the private store, long after intake: cohorts, reports, statements.

At intake each case is searched for its own source's identifiers
(:mod:`~silo_node.deidentify.output_check`). Here everything is searched for those of every case the site has, because a
cohort's manifest or a report speaks of many.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from silo_node.deidentify.identifiers import Identifiers
from silo_node.deidentify.known import KnownIdentifiers
from silo_node.deidentify.search import OWN_WORDS, IdentifierSearch
from silo_node.state import Home
from silo_node.wire.errors import IntegrityError

_KEYED = re.compile(r"^(coh-|blake3:|hmac-sha256:|cases/)?[0-9a-f]{16,64}(\.safetensors)?$")
_FIELD = re.compile(r"^[a-z_]+$")
_TEXT = (".json", ".jsonl", ".html", ".txt", ".log", ".toml", ".csv")


class WrittenCheck:
    """Searches files for the identifiers of every case of a site."""

    def __init__(self, home: Home, *, allowed: Iterable[str] = ()) -> None:
        """``allowed`` are texts the files hold for reasons of their own, such as a benchmark's labels."""
        with KnownIdentifiers(home) as known:
            identifiers = known.identifiers()
        allowed = tuple(allowed)
        self._own = OWN_WORDS | {text.lower() for text in allowed}
        self._texts = IdentifierSearch(identifiers, allowed=allowed)
        # Private blocks hold binary runs that are bytes of an array as well, so arrays are searched for the rest.
        self._arrays = IdentifierSearch(Identifiers(certain=identifiers.certain), allowed=allowed)

    def array(self, data: bytes) -> None:
        """Raise ``identifier-leak`` where the bytes of a prepared case hold an identifier."""
        _require(not self._arrays.in_bytes(data))

    def document(self, value: Any) -> None:
        """Raise ``identifier-leak`` where a text of a JSON value holds an identifier.

        Keyed digests and texts that are as a whole among the allowed ones are not looked into.
        """
        texts = (text for text in _texts(value) if text.lower() not in self._own)
        _require(not any(self._texts.in_text(text) for text in texts))

    def finds(self, path: Path) -> bool:
        """Tell whether a file of any kind, or its name, holds an identifier."""
        data = path.read_bytes()
        search = self._texts if path.name.endswith(_TEXT) or b"SQLite" in data[:16] else self._arrays
        return search.in_bytes(data) or self._texts.in_bytes(path.name.encode())


def outside_files(home: Home) -> Iterator[Path]:
    """Yield every file of a node's state folder that the node writes outside the private store."""
    written_by_people = (home.config_file, home.policy_file)
    for path in sorted(home.path.rglob("*")):
        private = path.is_relative_to(home.private) or path in written_by_people
        if path.is_file() and not path.is_symlink() and not private:
            yield path


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            # Names such as these are the software's own fields.
            yield from () if _FIELD.match(name) else _texts(name)
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, str) and not _KEYED.match(value):
        yield value


def _require(clean: bool) -> None:
    if not clean:
        raise IntegrityError("identifier-leak", "what was about to be written held a text of a source")
