"""Two records of the same door, compared: what this site wrote before it sent, and what the hub says has arrived."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from silo_node.outbox.egress_log import TORN, Departure
from silo_node.wire.intake import IntakeEntry

UNNAMED = "/api/v1/enrolments"
"""Sent before the silo had a name, so that the hub cannot log it under one."""

SIGNS_OF_LIFE = ("ClaimRequest", "Heartbeat")
"""Questions for work and heartbeats, which a hub whose machine lost its power may not have."""


@dataclass(frozen=True)
class Reconciliation:
    """What the two logs agree on, and every line on which they do not."""

    agreed: int
    unknown_here: tuple[IntakeEntry, ...]
    """The hub has them and this site never logged them: bytes that left unseen, or a hub that invents."""

    unknown_there: tuple[Departure, ...]
    """This site sent them and the hub has no such line: lost on the way, sent just now, or dropped by the hub."""

    signs_of_life: int
    """Of those, questions for work and heartbeats, which are counted and not listed."""

    @property
    def sound(self) -> bool:
        """Whether the hub has nothing that this site does not know of."""
        return not self.unknown_here


def reconcile(departures: Iterable[Departure], arrivals: Iterable[IntakeEntry]) -> Reconciliation:
    """Compare the two logs line by line, by where to, what for, digest and size.

    A part of an upload that broke off on the way has another digest at the hub than here; it counts as agreed where
    this site sent a longer part to the same place.
    """
    sent = [one for one in departures if one.kind != TORN and one.path != UNNAMED]
    left = Counter(_key(one.method, one.path, one.subject, one.digest, one.size) for one in sent)
    unknown, agreed = [], 0
    for entry in arrivals:
        key = _key(entry.method, entry.path, entry.subject, entry.digest, entry.size)
        if left[key]:
            left[key] -= 1
            agreed += 1
        elif _broken_off(entry, sent):
            agreed += 1
        else:
            unknown.append(entry)
    missing = []
    for one in reversed(sent):
        key = _key(one.method, one.path, one.subject, one.digest, one.size)
        if left[key]:
            left[key] -= 1
            missing.append(one)
    listed = [one for one in reversed(missing) if one.kind not in SIGNS_OF_LIFE]
    return Reconciliation(agreed, tuple(unknown), tuple(listed), len(missing) - len(listed))


def _key(method: str, path: str, subject: str, digest: str, size: int) -> tuple[str, str, str, str, int]:
    # Where no id stands in the path, what this site notes as the subject is not seen by the hub's router.
    return method, path, subject if "{id}" in path else "", digest, size


def _broken_off(entry: IntakeEntry, sent: Iterable[Departure]) -> bool:
    if entry.method != "PATCH":
        return False
    return any(
        (one.method, one.path, one.subject) == (entry.method, entry.path, entry.subject) and one.size > entry.size
        for one in sent
    )
