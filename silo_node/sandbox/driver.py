"""What every way to jail a program can do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from silo_node.sandbox.jail import Jail
from silo_node.sandbox.limits import Bind, Limits


class Sandbox(Protocol):
    """A way to start a program so that it cannot reach what it was not given."""

    @property
    def jailed(self) -> bool:
        """False only for the development override."""
        ...

    def start(self, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, *, log: Path | None = None) -> Jail:
        """Start a program and return its jail, with standard input and output as pipes.

        Standard error is appended to ``log``, bounded, and dropped where there is none: it may hold what a model
        wrote, and never leaves the site. Call it from a thread that outlives the jail: the kernel ends a jail when
        the thread that started it ends.
        """
        ...
