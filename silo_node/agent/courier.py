"""Taking to the hub what the outbox lets go, one item at a time, and drawing the consequences of each answer."""

import logging
import threading

from silo_node.agent.claims import LeaseKeeper
from silo_node.agent.tasks import TaskBook
from silo_node.config import NodeConfig
from silo_node.hub import Hub
from silo_node.identity import Identity, dial
from silo_node.journal import Journal
from silo_node.outbox.box import TASK_ANSWERS, Item, Outbox
from silo_node.outbox.delivery import deliver, outcome
from silo_node.outbox.states import TO_SEND
from silo_node.state import Home
from silo_node.wire.errors import HubUnavailable, MedSiloError

_LOG = logging.getLogger("silo_node.agent")


class Courier:
    """Delivers for one node. Several threads may ask; one delivers at a time."""

    def __init__(self, home: Home, outbox: Outbox, book: TaskBook, keeper: LeaseKeeper) -> None:
        self._home = home
        self._outbox = outbox
        self._book = book
        self._keeper = keeper
        self._lock = threading.Lock()

    def deliver_ready(self, hub: Hub, *, wait: bool) -> None:
        """Send everything that is released; raises :class:`HubUnavailable`.

        Without ``wait``, return at once where another thread is delivering, which takes everything along.
        """
        if not self._lock.acquire(blocking=wait):
            return
        try:
            for item in self._outbox.items(*TO_SEND):
                self._deliver(item, hub)
        finally:
            self._lock.release()

    def _deliver(self, item: Item, hub: Hub) -> None:
        try:
            delivered = deliver(item, hub, self._outbox)
        except HubUnavailable:
            raise
        except MedSiloError as error:
            _LOG.warning("not delivered yet", extra={"item": item.item_id, "kind": item.kind, "code": error.code})
            return
        self._keeper.drop(item.subject)
        if item.kind in TASK_ANSWERS:
            state = outcome(delivered)
            self._book.move(item.subject, "closed", delivered.code or (None if state == "accepted" else state))
            _LOG.info("answered", extra={"task": item.subject, "kind": item.kind, "state": state})
        if item.kind == "cohort-registration" and delivered.state == "acknowledged":
            from silo_node.registration import note_registration

            note_registration(self._home, delivered)


def deliver_now(home: Home, config: NodeConfig, identity: Identity) -> None:
    """Deliver what is released from a command, where no node runs; raises :class:`HubUnavailable`."""
    journal = Journal(home)
    hub = dial(home, config, identity)
    try:
        keeper = LeaseKeeper(lambda: hub, lambda claim: None, lambda claim: None)
        Courier(home, Outbox(journal), TaskBook(journal), keeper).deliver_ready(hub, wait=True)
    finally:
        hub.close()
        journal.close()
