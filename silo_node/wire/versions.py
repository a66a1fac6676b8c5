"""Which wire versions this release speaks, and how two sides agree on one.

The hub speaks the newest version and the one before it, so a hospital may upgrade a release later than the hub.
"""

from collections.abc import Iterable

CURRENT = 1
SUPPORTED: tuple[int, ...] = (1,)
HEADER = "MedSilo-Wire"


def negotiate(theirs: Iterable[int], ours: Iterable[int] = SUPPORTED) -> int | None:
    """Return the highest version both sides speak, or ``None`` where there is none."""
    return max(set(theirs) & set(ours), default=None)
