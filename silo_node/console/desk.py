"""What every page needs: the state folder, who may sign in, who is signed in, and under which names it is served."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass

from flask import current_app, g

from silo_node.config import NodeConfig, load_config
from silo_node.console.people import People
from silo_node.console.sessions import Session, Sessions
from silo_node.identity import Identity, load_identity
from silo_node.journal import Journal
from silo_node.state import Home

EXTENSION = "silo_node.console"


@dataclass(frozen=True)
class Desk:
    """One console. Settings and identity are read anew for each page: both may change while it runs."""

    home: Home
    people: People
    sessions: Sessions
    hosts: AbstractSet[str]
    """The ``Host`` headers it answers to; any other comes from a page that has its name point here."""

    @property
    def config(self) -> NodeConfig:
        return load_config(self.home)

    def identity(self) -> Identity:
        """Return who the node is; raises :class:`ConfigError` ``not-enrolled``."""
        return load_identity(self.home)

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """Open the journal of tasks and the outbox."""
        journal = Journal(self.home)
        try:
            yield journal
        finally:
            journal.close()


def desk() -> Desk:
    """Return the console that answers this request."""
    found: Desk = current_app.extensions[EXTENSION]
    return found


def signed_in() -> Session:
    """Return the session of this request; pages are only reached with one."""
    found: Session = g.session
    return found
