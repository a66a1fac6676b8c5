"""The names under which readers of one benchmark know its hospitals."""

from collections.abc import Iterable
from dataclasses import dataclass
from string import ascii_uppercase


@dataclass(frozen=True, slots=True)
class PublicSite:
    """A hospital as readers of one benchmark know it."""

    silo_id: str
    label: str
    named: bool
    """The label is its own name."""

    shown: bool
    """Its own values may be shown, once enough sites have reported."""


def pseudonym(place: int) -> str:
    """Return ``Site A`` for the first place, ``Site Z`` for the 26th, ``Site AA`` for the 27th."""
    letters = ""
    while place > 0:
        place, rest = divmod(place - 1, 26)
        letters = ascii_uppercase[rest] + letters
    return f"Site {letters}"


def public_sites(places: Iterable[tuple[str, str, str]]) -> dict[str, PublicSite]:
    """Return how sites are named, from ``(silo id, name, publication)`` in the order in which they joined."""
    return {
        silo_id: PublicSite(silo_id, name if wish == "named" else pseudonym(place), wish == "named", wish != "withheld")
        for place, (silo_id, name, wish) in enumerate(places, start=1)
    }
