"""What the sources said of each case: their identifiers, and the pixel risks the policy let through.

``private/identifiers.sqlite`` is as private as the objects beside it. It is kept so that everything written later, a
cohort's files or a report, can be searched for what must not be in it.
"""

import json
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from silo_node.deidentify.identifiers import Identifiers
from silo_node.state import Home

BUSY_SECONDS = 10.0


@dataclass(frozen=True)
class KnownCase:
    """What is known of one case's source."""

    identifiers: Identifiers
    risks: frozenset[str] = frozenset()
    """Coded risks of its pixels that the site's policy allowed."""


class KnownIdentifiers:
    """One connection to the file."""

    def __init__(self, home: Home) -> None:
        """Open the file, readable by its owner alone; make it where missing."""
        home.private.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = home.private / "identifiers.sqlite"
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        with self._connection:
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS cases (case_id TEXT PRIMARY KEY, said BLOB NOT NULL, risks TEXT NOT NULL)"
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> "KnownIdentifiers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, cases: Mapping[str, KnownCase]) -> None:
        """Note what the sources said of cases, by case id."""
        rows = [(case_id, _packed(case.identifiers), json.dumps(sorted(case.risks))) for case_id, case in cases.items()]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO cases VALUES (?,?,?)", rows)

    def identifiers(self, cases: Collection[str] | None = None) -> Identifiers:
        """Return the identifiers of some cases together, or of all there are."""
        certain: set[str] = set()
        other: set[str] = set()
        for case_id, said in self._connection.execute("SELECT case_id, said FROM cases"):
            if cases is None or case_id in cases:
                found = json.loads(zlib.decompress(said))
                certain.update(found["certain"])
                other.update(found["other"])
        return Identifiers(frozenset(certain), frozenset(other))

    def count(self) -> int:
        """Return of how many cases something is known."""
        return int(self._connection.execute("SELECT count(*) FROM cases").fetchone()[0])

    def risks(self) -> Counter[str]:
        """Return how many cases came in with each risk, because the policy allows it."""
        rows: Iterable[tuple[str]] = self._connection.execute("SELECT risks FROM cases")
        return Counter(risk for (risks,) in rows for risk in json.loads(risks))


def _packed(identifiers: Identifiers) -> bytes:
    said = {"certain": sorted(identifiers.certain), "other": sorted(identifiers.other)}
    return zlib.compress(json.dumps(said).encode(), 1)
