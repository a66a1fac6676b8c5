"""The life of a thing that wants to leave, as a pure table of transitions.

::

    computed -> held -> released -> sent -> acknowledged
        |         |                   |
        |         |                   +-> sent        (again, when nobody knows whether it arrived)
        |         +-> rejected -> declined            (the hub was told the coded no)
        +-> released
    computed | held | released | sent -> withdrawn    (the hub no longer wants it)
    acknowledged -> released                          (the hub asks for it once more)
"""

from typing import Literal

from silo_node.wire.errors import BadInput

ItemState = Literal["computed", "held", "released", "sent", "acknowledged", "rejected", "declined", "withdrawn"]

NEXT: dict[ItemState, frozenset[ItemState]] = {
    "computed": frozenset({"held", "released", "withdrawn"}),
    "held": frozenset({"released", "rejected", "withdrawn"}),
    "released": frozenset({"sent", "withdrawn"}),
    "sent": frozenset({"sent", "acknowledged", "withdrawn"}),
    "acknowledged": frozenset({"released"}),
    "rejected": frozenset({"declined"}),
    "declined": frozenset(),
    "withdrawn": frozenset(),
}
"""What a person has rejected stays here: from there no way leads to *sent*."""

LIVE: tuple[ItemState, ...] = ("computed", "held", "released", "sent", "rejected")
TO_SEND: tuple[ItemState, ...] = ("released", "sent", "rejected")


def step(before: ItemState, after: ItemState) -> ItemState:
    """Return the new state; raises :class:`BadInput` ``state-conflict`` where the table has no such step."""
    if after not in NEXT[before]:
        raise BadInput("state-conflict", f"it is {before}")
    return after
