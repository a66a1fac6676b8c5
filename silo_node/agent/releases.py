"""What a person decides about a thing that waits to leave, for the commands and the console alike."""

from collections.abc import Callable

from silo_node.agent.consents import KIND, decline_held
from silo_node.agent.courier import deliver_now
from silo_node.config import NodeConfig
from silo_node.identity import Identity
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.state import Home
from silo_node.status import node_runs


def reject(journal: Journal, identity: Callable[[], Identity], item_id: str, by: str | None = None) -> Item:
    """Keep a held item here for good; raises :class:`BadInput` ``not-found`` or ``state-conflict``.

    Keeping a yes to a study here would leave the question open, so what goes out in its place is a signed no.
    """
    outbox = Outbox(journal)
    item = outbox.item(item_id)
    return decline_held(journal, identity(), item, by) if item.kind == KIND else outbox.reject(item_id, by)


def deliver_unless_a_node_runs(home: Home, config: NodeConfig, identity: Identity) -> None:
    """Deliver at once where no node runs; a running one sees the change by itself. Raises :class:`HubUnavailable`."""
    if not node_runs(home):
        deliver_now(home, config, identity)
