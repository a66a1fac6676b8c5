"""What has been told of whom, for ever: the ledger of privacy, append-only and chained by hashes.

An entry is on disk before any noise of it is drawn. A node killed in between has booked an answer it never gave, so
the ledger may say too much was spent, and never too little. Each entry's hash covers the one before it, and the
database itself refuses to change or delete a line.
"""

import json
from collections.abc import Set
from dataclasses import asdict, dataclass
from sqlite3 import Connection
from typing import Literal

from pipelines.privacy.accounting import Mechanism, epsilon_of
from silo_node.journal import Journal
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import IntegrityError

START = "blake3:" + "0" * 64
Part = Literal["train", "validation", "test", "all"]
Kind = Literal["round", "evaluation", "statistics", "closed"]


@dataclass(frozen=True)
class Entry:
    """One line: an answer about the patients of one part of a cohort."""

    number: int
    cohort: str
    part: str
    kind: str
    subject: str
    """The study, evaluation or query."""

    mechanism: Mechanism
    created: str
    previous: str
    hash: str

    @property
    def spends(self) -> bool:
        """Whether it told anything; the end of a study does not."""
        return self.mechanism.steps > 0


@dataclass(frozen=True)
class Spent:
    """What all answers about some patients have cost."""

    mechanisms: tuple[Mechanism, ...]
    """Those with noise."""

    without_noise: int
    """Answers no bound holds for."""

    def epsilon(self, delta: float, *more: Mechanism) -> float:
        """Return the epsilon of all answers with noise together, and of ``more`` to come."""
        return epsilon_of([*self.mechanisms, *more], delta)


class PrivacyLedger:
    """The ledger of one node. Usable from several threads and processes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def book(
        self, cohort: str, part: Part, patients: Set[str], kind: Kind, subject: str, mechanism: Mechanism
    ) -> Entry:
        """Write one line; once this returns, it survives a power cut."""
        with self._journal.writing() as connection:
            return self.write(connection, cohort, part, patients, kind, subject, mechanism)

    def write(
        self,
        connection: Connection,
        cohort: str,
        part: Part,
        patients: Set[str],
        kind: Kind,
        subject: str,
        mechanism: Mechanism,
    ) -> Entry:
        """Write one line within a transaction of the journal."""
        rows = connection.execute("SELECT number, hash FROM privacy ORDER BY number DESC LIMIT 1").fetchall()
        number, previous = (rows[0]["number"] + 1, rows[0]["hash"]) if rows else (1, START)
        now = self._journal.now()
        digest = digest_bytes(canonical_bytes(_body(number, cohort, part, kind, subject, mechanism, now, previous)))
        values = (number, cohort, part, kind, subject, json.dumps(asdict(mechanism)), now, previous, digest)
        connection.execute("INSERT INTO privacy VALUES (?,?,?,?,?,?,?,?,?)", values)
        known = (cohort, part, " ".join(sorted(patients)))
        connection.execute("INSERT OR IGNORE INTO privacy_patients VALUES (?,?,?)", known)
        return Entry(number, cohort, part, kind, subject, mechanism, now, previous, digest)

    def entries(self, cohort: str | None = None) -> list[Entry]:
        """Return the lines from first to last, of one cohort or of all."""
        rows = self._journal.rows("SELECT * FROM privacy ORDER BY number")
        found = [
            Entry(**{**dict(row), "mechanism": Mechanism(**json.loads(row["mechanism"]))})  # as :meth:`book` wrote it
            for row in rows
        ]
        return [entry for entry in found if cohort is None or entry.cohort == cohort]

    def about(self, patients: Set[str]) -> list[Entry]:
        """Return the lines that tell of any of these patients, through whichever cohort.

        A cohort that was built anew is other cases, but not other people.
        """
        touched = {part for part, theirs in self.parts().items() if patients & theirs}
        return [entry for entry in self.entries() if entry.spends and (entry.cohort, entry.part) in touched]

    def parts(self) -> dict[tuple[str, str], frozenset[str]]:
        """Return the parts of cohorts of which anything was told, with their patients."""
        rows = self._journal.rows("SELECT cohort, part, patients FROM privacy_patients WHERE patients != ''")
        return {(row["cohort"], row["part"]): frozenset(row["patients"].split()) for row in rows}

    def spent(self, patients: Set[str]) -> Spent:
        """Return what all answers that tell of any of these patients have cost together."""
        found = self.about(patients)
        noisy = tuple(entry.mechanism for entry in found if entry.mechanism.kind != "none")
        return Spent(noisy, len(found) - len(noisy))

    def steps_of(self, study: str) -> int:
        """Return the steps booked for a study."""
        return sum(entry.mechanism.steps for entry in self.entries() if entry.subject == study)

    def close(self, study: str) -> None:
        """Note that a study has ended: what it was promised and did not use is free again."""
        if study not in self.closed():
            self.book("", "all", frozenset(), "closed", study, Mechanism("none", steps=0))

    def closed(self) -> set[str]:
        """Return the studies that have ended."""
        return {row["subject"] for row in self._journal.rows("SELECT subject FROM privacy WHERE kind = 'closed'")}

    def verify(self) -> tuple[int, str]:
        """Check every line against the one before it; return their number and the last hash.

        Raises :class:`IntegrityError` ``log-broken``, naming the first line that does not fit.
        """
        number, previous = 0, START
        for one in self.entries():
            body = _body(
                one.number, one.cohort, one.part, one.kind, one.subject, one.mechanism, one.created, one.previous
            )
            if one.number != number + 1 or one.previous != previous or digest_bytes(canonical_bytes(body)) != one.hash:
                raise IntegrityError("log-broken", f"line {number + 1} of the privacy ledger")
            number, previous = one.number, one.hash
        return number, previous


def _body(
    number: int, cohort: str, part: str, kind: str, subject: str, mechanism: Mechanism, created: str, previous: str
) -> dict[str, object]:
    return {
        "number": number,
        "cohort": cohort,
        "part": part,
        "kind": kind,
        "subject": subject,
        "mechanism": asdict(mechanism),
        "created": created,
        "previous": previous,
    }
