"""Where a model comes from, as a chain of steps a reader can follow."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One link of the chain: what kind of thing it is, its name, and where to read more. ``here``: this very page."""

    kind: str
    text: str
    href: str | None = None
    note: str = ""
    here: bool = False
