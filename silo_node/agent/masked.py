"""Masked rounds in the agent: an update goes to the masking desk in place of the outbox, and its lease is kept there.

The desk is made when the first masked round comes: a node that waits stays small.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from silo_node.agent.claims import Claim, LeaseKeeper
from silo_node.agent.node import Node
from silo_node.agent.tasks import TaskBook
from silo_node.hub import Hub
from silo_node.outbox.box import Outbox
from silo_node.wire.base import Message
from silo_node.wire.errors import BadInput
from silo_node.wire.studies import RoundReport, RoundTask
from silo_node.wire.tasks import Task

if TYPE_CHECKING:
    from silo_node.masking.desk import MaskingDesk
    from silo_node.masking.store import MaskingStore


class MaskedRounds:
    """The masked rounds of one agent. Lanes hand updates in, the loop takes turns."""

    def __init__(self, node: Node, book: TaskBook, outbox: Outbox, keeper: LeaseKeeper) -> None:
        self._node = node
        self._book = book
        self._outbox = outbox
        self._keeper = keeper
        self._lock = threading.RLock()
        self._store: MaskingStore | None = None
        self._made: MaskingDesk | None = None

    def begun(self, claim: Claim) -> bool:
        """Return whether a claimed task is in a masked round that goes on."""
        desk = self._desk_if_used()
        return desk is not None and claim.task.task_id in desk.tasks()

    def takes(self, claim: Claim, statement: Message, update: Path | None) -> bool:
        """Take a round's report and its update in, where the plan has them masked."""
        body = claim.task.body
        if not isinstance(body, RoundTask) or not isinstance(statement, RoundReport) or update is None:
            return False
        if body.plan.secure_aggregation is None:
            return False
        from silo_node.agent.holdings import find_holding

        holding = find_holding(self._node.home, body.cohort, body.plan.benchmark)
        if holding is None:
            raise BadInput("cohort-unknown")
        with self._lock:
            self._desk().begin(statement, body, update, holding.manifest.count("train"))
        return True

    def turn(self, hub: Hub) -> bool:
        """Take the steps that are due; return whether any masked round goes on."""
        desk = self._desk_if_used()
        if desk is None:
            return False
        with self._lock:
            return desk.turn(hub)

    def resume(self, stopping: Callable[[], bool]) -> None:
        """Keep the leases of the rounds that were under way when the node ended."""
        desk = self._desk_if_used()
        for task_id in desk.tasks() if desk is not None else ():
            record = self._book.find(task_id)
            if record is not None and record.state != "closed":
                task = Task.model_validate_json(record.envelope.payload_bytes())
                self._keeper.keep(Claim(task, 0.0, stop=stopping))

    def close(self) -> None:
        """Close the desk's file."""
        if self._store is not None:
            self._store.close()

    def _desk_if_used(self) -> "MaskingDesk | None":
        if self._made is None and not self._node.home.masking.exists():
            return None
        return self._desk()

    def _desk(self) -> "MaskingDesk":
        from silo_node.masking.desk import MaskingDesk
        from silo_node.masking.store import MaskingStore

        with self._lock:
            if self._made is None:
                self._store = MaskingStore(self._node.home)
                self._made = MaskingDesk(self._node.home, self._node.identity, self._store, self._outbox)
            return self._made
