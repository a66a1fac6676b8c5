"""One claimed task from its first step to a statement in the outbox or a coded no."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from silo_node.agent.claims import Claim, LeaseKeeper
from silo_node.agent.consents import agreed_plan
from silo_node.agent.courier import Courier
from silo_node.agent.learning import Learning
from silo_node.agent.masked import MaskedRounds
from silo_node.agent.node import Interrupted, Node, connection, persist
from silo_node.agent.tasks import TaskBook
from silo_node.hub import Hub
from silo_node.journal import Journal
from silo_node.outbox.box import ItemKind, Outbox
from silo_node.policy import decide_release, load_policy
from silo_node.policy.decisions import Released
from silo_node.wire.base import Message
from silo_node.wire.checks import CheckTask
from silo_node.wire.envelope import seal
from silo_node.wire.errors import MedSiloError, WorkFailed
from silo_node.wire.statistics import StatisticsTask
from silo_node.wire.studies import RoundTask
from silo_node.wire.tasks import Decline, EvaluationTask

if TYPE_CHECKING:
    from silo_node.agent.rounds import StudySessions

PASSING = frozenset({"disk-full", "state-locked", "sandbox-unavailable", "sandbox-incomplete"})
"""Reasons that pass: the task is asked for again later."""

KINDS: dict[str, tuple[ItemKind, Released]] = {
    "evaluation": ("estimate-block", "results"),
    "round": ("round-report", "updates"),
    "check": ("check-report", "results"),
    "statistics": ("statistics-report", "results"),
}
"""For each kind of task, the statement that answers it and the policy rule that releases it."""

_LOG = logging.getLogger("silo_node.agent")


class Runner:
    """Runs the tasks of one lane, over a connection of its own."""

    def __init__(
        self,
        node: Node,
        journal: Journal,
        keeper: LeaseKeeper,
        courier: Courier,
        book: TaskBook,
        outbox: Outbox,
        masking: MaskedRounds,
    ) -> None:
        self._node = node
        self._journal = journal
        self._keeper = keeper
        self._courier = courier
        self._book = book
        self._outbox = outbox
        self._masking = masking
        self._hub: Hub | None = None
        self._sessions: StudySessions | None = None

    def run(self, claim: Claim) -> None:
        """Do a task or say why not; one that the end of the node interrupts is left for the next start."""
        hub = self._hub = self._hub or connection(self._node)
        task_id = claim.task.task_id
        self._book.move(task_id, "running")
        with self._keeper.keeping(claim):
            try:
                if self._masking.begun(claim):
                    self._book.move(task_id, "answered")
                else:
                    self._conclude(hub, claim, *self._compute(hub, claim))
            except Interrupted:
                if claim.unwanted.is_set():
                    self._book.move(task_id, "closed", "cancelled")
            except MedSiloError as error:
                self._decline(hub, claim, error)
            except Exception as error:
                _LOG.exception("a task failed in an unforeseen way", extra={"task": task_id})
                self._decline(hub, claim, WorkFailed("work-failed", type(error).__name__))
        if (claim.state == "held" or self._masking.begun(claim)) and not claim.unwanted.is_set():
            self._keeper.keep(claim)

    def idle(self) -> None:
        """End processes nobody has used for long."""
        if self._sessions is not None:
            self._sessions.end_idle()

    def close(self) -> None:
        """End every process this lane has started, and its connection."""
        if self._sessions is not None:
            self._sessions.close()
        if self._hub is not None:
            self._hub.close()

    def _compute(self, hub: Hub, claim: Claim) -> tuple[Message, Path | None]:
        # Each kind of work is imported when its first task comes: a node that waits stays small.
        if isinstance(claim.task.body, EvaluationTask):
            from silo_node.agent.evaluation import evaluate

            return evaluate(self._node, hub, claim, claim.task.body, self._journal), None
        if isinstance(claim.task.body, CheckTask):
            from silo_node.agent.checking import check

            return check(self._node, hub, claim, claim.task.body), None
        if isinstance(claim.task.body, StatisticsTask):
            from silo_node.agent.statistics import answer

            return answer(self._node, hub, claim, claim.task.body, self._journal), None
        return self._round(hub, claim, claim.task.body)

    def _round(self, hub: Hub, claim: Claim, body: RoundTask) -> tuple[Message, Path | None]:
        from silo_node.agent.rounds import StudySessions

        self._sessions = self._sessions or StudySessions(self._node, self._journal)
        agreed = agreed_plan(self._journal, self._node.identity, body.study_id)
        learning = Learning(self._node.home, self._journal, claim.task.task_id, body)
        learning.refuse_over_budget()
        answer = self._sessions.answer(hub, claim, body, agreed)
        learning.book(answer.report)
        return answer.report, answer.update

    def _conclude(self, hub: Hub, claim: Claim, statement: Message, attachment: Path | None) -> None:
        """Answer, or hand a trained update over to be masked."""
        if self._masking.takes(claim, statement, attachment):
            self._book.move(claim.task.task_id, "answered")
        else:
            self._answer(hub, claim, statement, attachment)

    def _answer(self, hub: Hub, claim: Claim, statement: Message, attachment: Path | None) -> None:
        kind, released = KINDS[claim.task.body.kind]
        release = decide_release(load_policy(self._node.home), released)
        envelope = seal(statement, self._node.identity.key)
        item = self._outbox.add(kind, claim.task.task_id, envelope, release, attachment)
        self._book.move(claim.task.task_id, "answered")
        if item.state == "held":
            claim.state = "held"
        self._reach(claim, partial(self._courier.deliver_ready, hub, wait=True))

    def _decline(self, hub: Hub, claim: Claim, error: MedSiloError) -> None:
        task_id = claim.task.task_id
        _LOG.warning("declined", extra={"task": task_id, "code": error.code})
        self._book.move(task_id, "closed", error.code)
        self._reach(claim, partial(hub.decline, task_id, Decline(code=error.code, retry=error.code in PASSING)))

    def _reach(self, claim: Claim, call: Callable[[], None]) -> None:
        """Tell the hub something, however long it is gone; a refusal there changes nothing here."""
        try:
            persist(call, claim.stop, self._node.config.poll.backoff_seconds)
        except Interrupted:
            return
        except MedSiloError as error:
            _LOG.warning("the hub refuses", extra={"task": claim.task.task_id, "code": error.code})
