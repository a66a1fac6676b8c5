"""A question about a cohort's patients, answered within the disclosure limits or with noise, and remembered.

What may be told depends on everything that was told before, of any cohort here (``benchmarks.statistics.counts``).
A band, which a cohort finder asks for, is never refused: where nothing may be told the answer is that of nobody.
"""

import json
from collections.abc import Mapping
from sqlite3 import Connection

from benchmarks.statistics.counts import Partition, rounded_count, tells_of_few, told_levels
from pipelines.privacy.accounting import Mechanism
from silo_node.agent.claims import Claim
from silo_node.agent.holdings import Holding, find_holding
from silo_node.agent.node import Node
from silo_node.benchmarks import known_benchmark
from silo_node.cohorts.manifest import Manifest
from silo_node.hub import Hub
from silo_node.journal import Journal
from silo_node.policy import EvaluationRequest, Policy, decide_evaluation, load_policy
from silo_node.policy.disclosure import stricter
from silo_node.privacy.ledger import PrivacyLedger
from silo_node.wire.cohorts import CountBand, count_band
from silo_node.wire.errors import MedSiloError, PolicyRefusal
from silo_node.wire.statistics import OTHER, Cell, StatisticsQuestion, StatisticsReport, StatisticsTask

FEWEST = 11
"""Fewest patients behind an exact count, whatever the benchmark and the policy allow."""


def answer(node: Node, hub: Hub, claim: Claim, body: StatisticsTask, journal: Journal) -> StatisticsReport:
    """Answer one question, unsigned.

    Raises :class:`PolicyRefusal` (``policy-differencing`` where earlier answers and this one together tell of few,
    ``privacy-budget``), ``cohort-unknown``, ``privacy-unavailable``.
    """
    policy = load_policy(node.home)
    holding = _permitted(node, policy, body)
    limits = stricter(known_benchmark(node.home, body.benchmark, hub).disclosure, policy.disclosure)
    minimum = max(limits.minimum_cell, FEWEST)
    inside, outside = selected(holding.manifest, body.question)
    band: CountBand | None = None
    cells: tuple[Cell, ...] = ()
    desk = Desk(journal, body, holding, policy)
    if body.question.attribute is None:
        band = count_band(len(inside) if desk.band_may_be_told(inside, outside, minimum) else 0)
    elif body.question.epsilon is not None:
        cells = desk.noisy(levels_of(inside, body.question.attribute), body.question.epsilon)
    else:
        cells = desk.exact(levels_of(inside, body.question.attribute), outside, minimum)
    return StatisticsReport(
        task_id=claim.task.task_id,
        query_id=body.query_id,
        silo_id=node.identity.silo_id,
        cohort=body.cohort,
        band=band,
        cells=cells,
        minimum=minimum,
    )


def selected(manifest: Manifest, question: StatisticsQuestion) -> tuple[dict[str, dict[str, str]], frozenset[str]]:
    """Return the patients under the conditions with the attributes of their first case, and all the others."""
    first: dict[str, dict[str, str]] = {}
    for case in manifest.cases:
        first.setdefault(case.patient, case.attributes)
    inside = {
        patient: attributes
        for patient, attributes in first.items()
        if all(attributes.get(one.attribute) in one.levels for one in question.where)
    }
    return inside, frozenset(first) - frozenset(inside)


def levels_of(patients: Mapping[str, Mapping[str, str]], attribute: str) -> dict[str, frozenset[str]]:
    """Return the patients of each value; those without the attribute have a level of their own."""
    found: dict[str, set[str]] = {}
    for patient, attributes in patients.items():
        found.setdefault(attributes.get(attribute, OTHER), set()).add(patient)
    return {level: frozenset(some) for level, some in found.items()}


def _permitted(node: Node, policy: Policy, body: StatisticsTask) -> Holding:
    """Return the cohort, once the rules for evaluations let its asker, purpose and benchmark in."""
    holding = find_holding(node.home, body.cohort, body.benchmark)
    patients = len(holding.manifest.patients()) if holding else None
    request = EvaluationRequest(body.benchmark.name, patients, (), (body.organisation,), body.purpose)
    decision = decide_evaluation(policy, request)
    if decision.code is not None or holding is None:
        raise PolicyRefusal(decision.code or "cohort-unknown", f"rule {decision.rule}: {decision.words}")
    return holding


class Desk:
    """One question's way through the limits and the ledgers."""

    def __init__(self, journal: Journal, body: StatisticsTask, holding: Holding, policy: Policy) -> None:
        self._journal, self._body, self._holding, self._policy = journal, body, holding, policy
        self._patients = frozenset(holding.manifest.patients())

    def band_may_be_told(self, inside: Mapping[str, object], outside: frozenset[str], minimum: int) -> bool:
        """Tell whether the band of a count may be told, and remember it if so."""
        new = tuple(part for part in (frozenset(inside), outside) if part)
        if len(inside) < minimum or self._policy.budget.epsilon is not None:
            return False
        with self._journal.writing() as connection:
            if tells_of_few(new, self._told(), minimum):
                return False
            self._remember(connection, new)
        return True

    def exact(self, cells: Mapping[str, frozenset[str]], outside: frozenset[str], minimum: int) -> tuple[Cell, ...]:
        """Return rounded counts, small ones and what would give them back withheld."""
        if self._policy.budget.epsilon is not None:
            raise PolicyRefusal("privacy-budget", "exact counts have no bound on what they cost")
        told, new = told_levels(cells, minimum)
        new = (*new, outside) if outside else new
        with self._journal.writing() as connection:
            if tells_of_few(new, self._told(), minimum):
                raise PolicyRefusal("policy-differencing", "with earlier answers it would tell of few")
            self._remember(connection, new)
        return tuple(
            Cell(level=level, patients=rounded_count(len(cells[level])) if level in told else None)
            for level in sorted(cells)
        )

    def noisy(self, cells: Mapping[str, frozenset[str]], epsilon: float) -> tuple[Cell, ...]:
        """Return counts with noise for every level of the vocabulary, booked before it is drawn."""
        from pipelines.privacy.counting import noisy_counts
        from silo_node.deidentify.attributes import VOCABULARY

        # Every level there could be, lest the answer's shape tell which ones there are.
        levels = [*sorted(VOCABULARY[str(self._body.question.attribute)]), OTHER]
        self._spend(Mechanism("laplace", 1 / epsilon))
        try:
            counts = noisy_counts([len(cells.get(level, ())) for level in levels], epsilon)
        except ImportError:
            raise MedSiloError("privacy-unavailable") from None
        return tuple(Cell(level=level, patients=count) for level, count in zip(levels, counts, strict=True))

    def _spend(self, cost: Mechanism) -> None:
        budget, ledger = self._policy.budget, PrivacyLedger(self._journal)
        with self._journal.writing() as connection:
            if budget.epsilon is not None:
                after = ledger.spent(self._patients).epsilon(budget.delta, cost)
                if after > budget.epsilon:
                    raise PolicyRefusal("privacy-budget", f"epsilon would be {after:.3g}, of {budget.epsilon:g}")
            self._write(connection, cost)

    def _remember(self, connection: Connection, partition: Partition) -> None:
        """Keep what is about to be told; the ledger gets a line without noise."""
        text = json.dumps(sorted(sorted(part) for part in partition))
        connection.execute("INSERT OR IGNORE INTO counted VALUES (?)", (text,))
        self._write(connection, Mechanism("none"))

    def _write(self, connection: Connection, cost: Mechanism) -> None:
        cohort, query = self._holding.cohort_id, self._body.query_id
        PrivacyLedger(self._journal).write(connection, cohort, "all", self._patients, "statistics", query, cost)

    def _told(self) -> list[Partition]:
        rows = self._journal.rows("SELECT parts FROM counted")
        return [tuple(frozenset(part) for part in json.loads(row["parts"])) for row in rows]
