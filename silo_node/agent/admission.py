"""Letting a task in: it must be the pinned hub's and this silo's, and it must not have been answered already.

The same judgement serves a task that was just claimed and one that was under way when the node ended.
"""

import logging
import shutil
import time
from collections.abc import Callable
from functools import partial

from silo_node.agent.claims import Claim, LeaseKeeper
from silo_node.agent.node import Interrupted, Node, persist
from silo_node.agent.runner import KINDS
from silo_node.agent.tasks import TaskBook, TaskRecord
from silo_node.hub import Hub
from silo_node.outbox.box import Item, Outbox
from silo_node.outbox.states import LIVE
from silo_node.state import Home
from silo_node.wire.envelope import BadEnvelope, Envelope, open_envelope
from silo_node.wire.errors import MedSiloError
from silo_node.wire.tasks import Decline, Heartbeat, Task

LEFTOVER_SECONDS = 86_400.0
_LOG = logging.getLogger("silo_node.agent")


class Admission:
    """Decides what becomes of each task; ``submit`` hands one to its lane."""

    def __init__(
        self,
        node: Node,
        book: TaskBook,
        outbox: Outbox,
        keeper: LeaseKeeper,
        submit: Callable[[Claim], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._node = node
        self._book = book
        self._outbox = outbox
        self._keeper = keeper
        self._submit = submit
        self._stopping = stopping

    def claimed(self, hub: Hub, envelope: Envelope, lease_seconds: float) -> None:
        """Take a task that was just claimed; what the pinned hub did not sign for this silo is not run."""
        try:
            task = self._verified(envelope)
        except BadEnvelope:
            self._refuse_unsigned(hub, envelope)
            return
        claim = Claim(task, lease_seconds, stop=self._stopping)
        item = self._answer_to(task)
        if item is not None:
            self._answered_before(hub, claim, item)
            return
        self._book.claim(task.task_id, task.body.kind, envelope)
        _LOG.info("claimed", extra={"task": task.task_id, "kind": task.body.kind})
        self._submit(claim)

    def resume(self, hub: Hub) -> None:
        """Go on with what was under way when the node ended, where the leases still hold."""
        for record in self._book.unfinished():
            self._resume(hub, record)
        for item in self._outbox.items("held"):
            found = self._book.find(item.subject)
            if found is not None:
                self._keep_held(hub, found)

    def withdraw(self, claim: Claim) -> None:
        """Take back what waits for a person once the hub no longer wants it."""
        item = self._answer_to(claim.task)
        if item is not None and item.state == "held":
            self._outbox.withdraw(item.item_id, "cancelled")
            self._book.move(claim.task.task_id, "closed", "cancelled")

    def _resume(self, hub: Hub, record: TaskRecord) -> None:
        try:
            claim = Claim(self._verified(record.envelope), 0.0, stop=self._stopping)
        except BadEnvelope:
            self._book.move(record.task_id, "closed", "task-not-signed")
            return
        item = self._answer_to(claim.task)
        if item is not None:  # the node ended between the answer and its note
            self._book.move(record.task_id, "closed" if item.state == "acknowledged" else "answered")
        elif self._lease_holds(hub, claim):
            _LOG.info("going on", extra={"task": record.task_id})
            self._submit(claim)
        elif not self._stopping():
            self._book.move(record.task_id, "closed", "lease-lost")

    def _keep_held(self, hub: Hub, record: TaskRecord) -> None:
        try:
            claim = Claim(self._verified(record.envelope), 0.0, stop=self._stopping, state="held")
        except BadEnvelope:
            return
        if self._lease_holds(hub, claim):
            self._keeper.keep(claim)

    def _answered_before(self, hub: Hub, claim: Claim, item: Item) -> None:
        """Go on with a task whose answer is there already: it is not computed twice, and a no stays a no."""
        if item.state == "acknowledged":
            self._outbox.again(item.item_id)
        elif item.state == "declined":
            hub.decline(item.subject, Decline(code=item.code or "policy-refuses-release"))
        elif item.state == "held":
            claim.state = "held"
            self._keeper.keep(claim)

    def _answer_to(self, task: Task) -> Item | None:
        item = self._outbox.about(KINDS[task.body.kind][0], task.task_id)
        return None if item is None or item.state == "withdrawn" else item

    def _verified(self, envelope: Envelope) -> Task:
        task = open_envelope(envelope, Task, self._node.identity.enrolment.hub_public_key)
        if task.silo_id != self._node.identity.silo_id:
            raise BadEnvelope("a task for another silo")
        return task

    def _refuse_unsigned(self, hub: Hub, envelope: Envelope) -> None:
        """Say no to a task that is not the hub's; its claimed id is used for nothing but the answer."""
        _LOG.error("nothing was run", extra={"code": "task-not-signed"})
        try:
            task = Task.model_validate_json(envelope.payload_bytes())
        except ValueError:
            return
        hub.decline(task.task_id, Decline(code="task-not-signed"))

    def _lease_holds(self, hub: Hub, claim: Claim) -> bool:
        beat = Heartbeat(state=claim.state, done=0, total=0)
        call = partial(hub.heartbeat, claim.task.task_id, beat)
        try:
            answer = persist(call, claim.stop, self._node.config.poll.backoff_seconds)
        except (MedSiloError, Interrupted):
            return False
        claim.plan_beat(answer.lease_seconds)
        return not answer.cancelled


def sweep(home: Home, outbox: Outbox) -> None:
    """Remove what a killed node left behind and nobody will use: old job files, ended sessions, orphaned updates."""
    for folder in home.scratch.glob("study-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in home.scratch.glob("job-*"):
        # A command may be preparing a cohort in this folder right now.
        if time.time() - folder.stat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
    wanted = {item.attachment for item in outbox.items(*LIVE)}
    for path in home.outbox.iterdir():
        if path not in wanted:
            path.unlink()
