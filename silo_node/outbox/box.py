"""The outbox: signed statements that wait to leave, in the journal, one transaction a step."""

import sqlite3
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silo_node.journal import Journal
from silo_node.outbox.person import current_person
from silo_node.outbox.states import LIVE, ItemState, step
from silo_node.policy.decisions import Decision
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import Envelope, key_id, public_key_text, signed_again
from silo_node.wire.errors import BadInput

REPLACEABLE: frozenset[ItemState] = frozenset({"computed", "held", "withdrawn"})
ItemKind = Literal[
    "cohort-registration", "association-decision", "estimate-block", "round-report", "check-report", "statistics-report"
]
TASK_ANSWERS: frozenset[ItemKind] = frozenset({"estimate-block", "round-report", "check-report", "statistics-report"})
"""Kinds that answer a task."""


@dataclass(frozen=True)
class Item:
    """One statement on its way out."""

    item_id: str
    kind: ItemKind
    subject: str
    """What it answers: a task id, an association id, or a cohort's fingerprint."""

    envelope: Envelope
    attachment: Path | None
    """A round's update, which leaves with the report and not before."""

    state: ItemState
    code: str | None
    """Why it was rejected or withdrawn."""

    answer: str | None
    """The hub's answer as JSON, once there is one."""

    released_by: str | None
    created: str
    changed: str
    persons: int = 1
    """How many different persons must release it while it is held."""

    approvals: tuple[str, ...] = ()
    """Who has released these very bytes so far, where that takes two."""


class Outbox:
    """The items of one node. Usable from several threads and processes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add(
        self,
        kind: ItemKind,
        subject: str,
        envelope: Envelope,
        release: Decision,
        attachment: Path | None = None,
        *,
        replacing: Collection[ItemState] = REPLACEABLE,
    ) -> Item:
        """Keep a computed statement, held or released as the policy decided; return it.

        A second statement on the same subject replaces one in a state of ``replacing``; any other stays and is
        returned, so that a thing computed twice leaves once, and a rejected thing does not come back.
        """
        now = self._journal.now()
        with self._journal.writing() as connection:
            found = _one(connection, "kind = ? AND subject = ?", kind, subject)
            if found is not None and found.state not in replacing:
                return found
            state: ItemState = "released" if release.verdict == "allow" else "held"
            item_id = found.item_id if found else f"out-{uuid.uuid4().hex[:10]}"
            connection.execute(
                "INSERT OR REPLACE INTO outbox VALUES (?,?,?,?,?,?,NULL,NULL,?,?,?)",
                (
                    item_id,
                    kind,
                    subject,
                    envelope.model_dump_json(),
                    str(attachment) if attachment else None,
                    step("computed", state),
                    f"policy {release.rule}" if state == "released" else None,
                    found.created if found else now,
                    now,
                ),
            )
            connection.execute("INSERT OR REPLACE INTO hold VALUES (?,?)", (item_id, release.persons))
            connection.execute("DELETE FROM approval WHERE item_id = ?", (item_id,))
        return self.item(item_id)

    def item(self, item_id: str) -> Item:
        """Return one item; raises :class:`BadInput` ``not-found``."""
        rows = self._journal.rows(f"{_SELECT} WHERE item_id = ?", (item_id,))
        if not rows:
            raise BadInput("not-found", "see silo-node outbox list")
        return _item(rows[0])

    def about(self, kind: ItemKind, subject: str) -> Item | None:
        """Return the item that answers this subject, if there is one."""
        rows = self._journal.rows(f"{_SELECT} WHERE kind = ? AND subject = ?", (kind, subject))
        return _item(rows[0]) if rows else None

    def items(self, *states: ItemState) -> list[Item]:
        """Return the items in these states (all without any), oldest first."""
        rows = self._journal.rows(f"{_SELECT} ORDER BY created, item_id")
        return [item for item in map(_item, rows) if not states or item.state in states]

    def release(self, item_id: str, by: str | None = None, instead: Envelope | None = None) -> Item:
        """Let a held item go in a person's name, or another statement in its place.

        Where the policy wanted two persons, the first one's yes is noted and the item stays held; the second must be
        somebody else. A statement in its place (a no) needs one. Raises ``state-conflict``, ``same-person``.
        """
        person = by or current_person()
        if instead is not None:
            return self._move(item_id, "released", released_by=person, message=instead.model_dump_json())
        with self._journal.writing() as connection:
            found = _one(connection, "item_id = ?", item_id)
            if found is None:
                raise BadInput("not-found", "see silo-node outbox list")
            step(found.state, "released")
            people = _approve(connection, found, person, self._journal.now())
            if len(people) >= found.persons:
                connection.execute(
                    "UPDATE outbox SET state = 'released', released_by = ?, changed = ? WHERE item_id = ?",
                    (", ".join(people), self._journal.now(), item_id),
                )
        return self.item(item_id)

    def again(self, item_id: str) -> Item:
        """Let an acknowledged item go once more: the hub has asked for it again."""
        return self._move(item_id, "released")

    def reject(self, item_id: str, by: str | None = None) -> Item:
        """Keep a held item here for good; the other side is told a code."""
        return self._move(item_id, "rejected", code="policy-refuses-release", released_by=by or current_person())

    def sending(self, item_id: str) -> Item:
        """Note that an item is about to be sent; from here on nobody knows whether it arrived until it is answered."""
        return self._move(item_id, "sent")

    def declined(self, item_id: str) -> Item:
        """Note that the other side was told the coded no."""
        return self._move(item_id, "declined")

    def acknowledged(self, item_id: str, answer: str) -> Item:
        """Note the hub's answer."""
        return self._move(item_id, "acknowledged", answer=answer)

    def sign_again(self, key: Ed25519PrivateKey) -> None:
        """Sign with another key what still has to count: what is on its way, and this site's answers to studies."""
        wanted = key_id(public_key_text(key.public_key()))
        for item in self.items():
            counts = item.state in LIVE or item.kind == "association-decision"
            if counts and all(signature.keyid != wanted for signature in item.envelope.signatures):
                with self._journal.writing() as connection:
                    connection.execute(
                        "UPDATE outbox SET message = ? WHERE item_id = ? AND message = ?",
                        (
                            signed_again(item.envelope, key).model_dump_json(),
                            item.item_id,
                            item.envelope.model_dump_json(),
                        ),
                    )

    def withdraw(self, item_id: str, code: str) -> Item:
        """Note that nobody wants an item any more."""
        return self._move(item_id, "withdrawn", code=code)

    def _move(self, item_id: str, state: ItemState, **columns: str) -> Item:
        with self._journal.writing() as connection:
            found = _one(connection, "item_id = ?", item_id)
            if found is None:
                raise BadInput("not-found", "see silo-node outbox list")
            values = {"state": step(found.state, state), "changed": self._journal.now(), **columns}
            settings = ", ".join(f"{column} = ?" for column in values)
            connection.execute(
                f"UPDATE outbox SET {settings} WHERE item_id = ?",  # noqa: S608  # column names are literals above
                (*values.values(), item_id),
            )
        return self.item(item_id)


_SELECT = (
    "SELECT outbox.*, (SELECT persons FROM hold WHERE hold.item_id = outbox.item_id) AS persons, (SELECT"
    " group_concat(person, ', ') FROM (SELECT person FROM approval WHERE approval.item_id = outbox.item_id ORDER BY"
    " created)) AS approvals FROM outbox"
)


def _approve(connection: sqlite3.Connection, item: Item, person: str, now: str) -> list[str]:
    """Note one person's yes to an item's exact bytes and return everybody who has said so."""
    if item.persons > 1 and person in item.approvals:
        raise BadInput("same-person", f"{person} has released it already")
    digest = digest_bytes(item.envelope.payload_bytes())
    connection.execute("INSERT OR REPLACE INTO approval VALUES (?,?,?,?)", (item.item_id, person, digest, now))
    said = "SELECT person FROM approval WHERE item_id = ? AND digest = ? ORDER BY created, person"
    return [row["person"] for row in connection.execute(said, (item.item_id, digest))]


def _one(connection: sqlite3.Connection, clause: str, *values: str) -> Item | None:
    row = connection.execute(f"{_SELECT} WHERE {clause}", values).fetchone()
    return _item(row) if row else None


def _item(row: sqlite3.Row) -> Item:
    return Item(
        item_id=row["item_id"],
        kind=row["kind"],
        subject=row["subject"],
        envelope=Envelope.model_validate_json(row["message"]),
        attachment=Path(row["attachment"]) if row["attachment"] else None,
        state=row["state"],
        code=row["code"],
        answer=row["answer"],
        released_by=row["released_by"],
        created=row["created"],
        changed=row["changed"],
        persons=row["persons"] or 1,
        approvals=tuple((row["approvals"] or "").split(", ")) if row["approvals"] else (),
    )
