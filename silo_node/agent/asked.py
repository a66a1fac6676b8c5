"""What was asked of this node, put to the policy once more: for a person who wants to know why."""

from silo_node.agent.consents import agreed_plan, outlook_of
from silo_node.agent.evaluation import SPLIT, evaluation_request
from silo_node.agent.holdings import find_holding, training_cases
from silo_node.agent.tasks import TaskBook
from silo_node.identity import Identity
from silo_node.journal import Journal
from silo_node.policy import (
    Asker,
    Decision,
    EvaluationRequest,
    RoundRequest,
    decide_consent,
    decide_evaluation,
    decide_round,
    load_policy,
)
from silo_node.policy.budget import Ledger
from silo_node.state import Home
from silo_node.wire.checks import CheckTask
from silo_node.wire.envelope import open_envelope
from silo_node.wire.errors import BadInput
from silo_node.wire.statistics import StatisticsTask
from silo_node.wire.studies import StudyConsentRequest
from silo_node.wire.tasks import EvaluationTask, Task


def decision_about(home: Home, identity: Identity, journal: Journal, name: str) -> Decision:
    """Decide anew about a task or a study by its id; nothing comes of it. Raises :class:`BadInput` ``not-found``."""
    record = TaskBook(journal).find(name)
    if record is not None:
        return _task(home, identity, journal, open_envelope(record.envelope, Task, identity.enrolment.hub_public_key))
    rows = journal.rows("SELECT request FROM consent WHERE ? IN (study_id, association_id)", (name,))
    if not rows:
        raise BadInput("not-found", "see silo-node status for the tasks of this node")
    asked = StudyConsentRequest.model_validate_json(rows[0]["request"])
    cases = training_cases(home, asked.plan.benchmark)
    asker = Asker(asked.organisation, asked.requested_by)
    return decide_consent(load_policy(home), asked.plan, cases, asker, outlook_of(home, journal, asked))


def _task(home: Home, identity: Identity, journal: Journal, task: Task) -> Decision:
    policy, body = load_policy(home), task.body
    if isinstance(body, EvaluationTask):
        history = Ledger(journal).spent(besides=task.task_id)
        holding = find_holding(home, body.cohort, body.benchmark)
        request = evaluation_request(body, holding.manifest.count(SPLIT) if holding else None, history)
        return decide_evaluation(policy, request, history)
    if isinstance(body, StatisticsTask):
        holding = find_holding(home, body.cohort, body.benchmark)
        patients = len(holding.manifest.patients()) if holding else None
        return decide_evaluation(
            policy, EvaluationRequest(body.benchmark.name, patients, (), (body.organisation,), body.purpose)
        )
    if isinstance(body, CheckTask):
        raise BadInput("not-found", "a check of the hub's operator is not decided by who asks")
    holding = find_holding(home, body.cohort, body.plan.benchmark)
    cases = holding.manifest.count("train") if holding else None
    agreed = agreed_plan(journal, identity, body.study_id)
    return decide_round(
        policy, RoundRequest(body.plan.benchmark.name, cases, body.plan_digest, agreed, body.plan.purpose)
    )
