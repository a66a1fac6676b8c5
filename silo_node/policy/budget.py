"""What each owner of models and studies has learnt here this month: a ledger in the journal, read back as plain values.

An entry is written with the result it belongs to and counts unless that result was kept here. Bits bound what numbers
can carry whatever a model does: an attacker who controls a model can encode patients' pixels in its scores, but not
more of them than the released numbers have room for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from silo_node.journal import Journal

KEPT_HERE = ("rejected", "declined", "withdrawn")


@dataclass(frozen=True)
class Spent:
    """What one owner has had in one month."""

    submissions: int = 0
    """Different models."""

    bits: float = 0.0
    models: frozenset[str] = frozenset()
    updates: int = 0
    """Model updates of his studies."""


NOTHING = Spent()


class Ledger:
    """The entries of one node. Usable from several threads and processes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def book(self, subject: str, shares: Mapping[str, tuple[tuple[str, ...], float]]) -> None:
        """Write what one result tells each owner: its models in it, and its share of the bits. Again replaces."""
        now = self._journal.now()
        with self._journal.writing() as connection:
            connection.execute("DELETE FROM spending WHERE subject = ?", (subject,))
            for owner, (models, bits) in shares.items():
                values = (subject, owner, month_of(now), " ".join(models), bits, now)
                connection.execute("INSERT INTO spending VALUES (?,?,?,?,?,?)", values)

    def book_round(self, subject: str, owner: str, *, updates: int, bits: float) -> None:
        """Write what one round's report tells the owner of its study. Again replaces."""
        now = self._journal.now()
        with self._journal.writing() as connection:
            values = (subject, owner, month_of(now), updates, bits, now)
            connection.execute("INSERT OR REPLACE INTO learnt VALUES (?,?,?,?,?,?)", values)

    def spent(self, month: str | None = None, *, besides: str = "") -> dict[str, Spent]:
        """Return what each owner has had in a month (this one), leaving out what was kept here."""
        rows = self._journal.rows(
            "SELECT owner, models, bits FROM spending WHERE month = ? AND subject != ? AND NOT EXISTS (SELECT 1 FROM"
            " outbox WHERE outbox.subject = spending.subject AND outbox.state IN (?,?,?))",
            (month or month_of(self._journal.now()), besides, *KEPT_HERE),
        )
        found: dict[str, Spent] = {}
        for row in rows:
            before = found.get(row["owner"], NOTHING)
            models = before.models | set(row["models"].split())
            found[row["owner"]] = Spent(len(models), before.bits + row["bits"], models)
        for row in self._journal.rows(
            "SELECT owner, SUM(updates) AS updates, SUM(bits) AS bits FROM learnt WHERE month = ? AND subject != ? AND"
            " NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.subject = learnt.subject AND outbox.state IN (?,?,?))"
            " GROUP BY owner",
            (month or month_of(self._journal.now()), besides, *KEPT_HERE),
        ):
            before = found.get(row["owner"], NOTHING)
            found[row["owner"]] = replace(before, bits=before.bits + row["bits"], updates=row["updates"])
        return found


def month_of(moment: str) -> str:
    """Return the calendar month (UTC) of a moment as the journal writes it: ``2026-11``."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m")
