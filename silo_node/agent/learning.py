"""What a study's owner learns by its rounds: asked before one is computed, and booked with its report."""

from silo_node.agent.consents import request_of_study
from silo_node.journal import Journal
from silo_node.policy import decide_learning, load_policy
from silo_node.policy.bits import report_bits
from silo_node.policy.budget import NOTHING, Ledger
from silo_node.state import Home
from silo_node.wire.errors import PolicyRefusal
from silo_node.wire.studies import RoundReport, RoundTask


class Learning:
    """One round's share of a budget. The owner is the organisation that asked this site for its consent."""

    def __init__(self, home: Home, journal: Journal, task_id: str, body: RoundTask) -> None:
        asked = request_of_study(journal, body.study_id)
        self._home, self._ledger, self._task_id = home, Ledger(journal), task_id
        self._owner = asked.organisation if asked is not None else ""
        self._updates = 0 if body.validate_only else 1

    def refuse_over_budget(self, bits: float = 0.0) -> None:
        """Raise :class:`PolicyRefusal` ``policy-budget`` where nothing more may be told to the owner this month."""
        spent = self._ledger.spent(besides=self._task_id).get(self._owner, NOTHING)
        decision = decide_learning(load_policy(self._home), self._owner, spent, updates=self._updates, bits=bits)
        if decision.code is not None:
            raise PolicyRefusal(decision.code, f"rule {decision.rule}: {decision.words}")

    def book(self, report: RoundReport) -> None:
        """Book what a report tells; raises as :meth:`refuse_over_budget` does."""
        bits = report_bits(report.model_dump(mode="json"))
        self.refuse_over_budget(bits)
        updates = 0 if report.update is None else 1
        self._ledger.book_round(self._task_id, self._owner, updates=updates, bits=bits)
