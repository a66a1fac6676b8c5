"""What was asked of this node, put to the policy once more: for a person who wants to know why."""

from silo_node.agent.consents import agreed_plan, outlook_of
from silo_node.agent.evaluation import SPLIT
from silo_node.agent.holdings import find_holding, training_cases
from silo_node.agent.tasks import TaskBook
from silo_node.identity import Identity
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.outbox.words import content
from silo_node.policy import (
    AskedModel,
    Asker,
    EvaluationRequest,
    Policy,
    RoundRequest,
    decide_consent,
    decide_evaluation,
    decide_models,
    decide_question,
    decide_round,
    load_policy,
)
from silo_node.policy.budget import Ledger
from silo_node.policy.words import ExplainedModel, Explanation
from silo_node.state import Home
from silo_node.wire.checks import CheckTask
from silo_node.wire.envelope import open_envelope
from silo_node.wire.errors import BadInput
from silo_node.wire.statistics import StatisticsTask
from silo_node.wire.studies import StudyConsentRequest
from silo_node.wire.tasks import EvaluationTask, Task


def explain(home: Home, identity: Identity, journal: Journal, name: str) -> Explanation:
    """Decide anew about a task or a study by its id, as the node would; nothing comes of it.

    Raises :class:`BadInput` ``not-found``.
    """
    record = TaskBook(journal).find(name)
    if record is not None:
        return _task(home, identity, journal, open_envelope(record.envelope, Task, identity.enrolment.hub_public_key))
    rows = journal.rows("SELECT request FROM consent WHERE ? IN (study_id, association_id)", (name,))
    if not rows:
        raise BadInput("not-found", "see silo-node status for the tasks of this node")
    asked = StudyConsentRequest.model_validate_json(rows[0]["request"])
    cases = training_cases(home, asked.plan.benchmark)
    asker = Asker(asked.organisation, asked.requested_by)
    return Explanation(decide_consent(load_policy(home), asked.plan, cases, asker, outlook_of(home, journal, asked)))


def _task(home: Home, identity: Identity, journal: Journal, task: Task) -> Explanation:
    policy, body = load_policy(home), task.body
    if isinstance(body, EvaluationTask):
        return _evaluation(home, journal, policy, task.task_id, body)
    if isinstance(body, StatisticsTask):
        holding = find_holding(home, body.cohort, body.benchmark)
        patients = len(holding.manifest.patients()) if holding else None
        request = EvaluationRequest(body.benchmark.name, patients, (), (body.organisation,), body.purpose)
        return Explanation(decide_evaluation(policy, request))
    if isinstance(body, CheckTask):
        raise BadInput("not-found", "a check of the hub's operator is not decided by who asks")
    holding = find_holding(home, body.cohort, body.plan.benchmark)
    cases = holding.manifest.count("train") if holding else None
    agreed = agreed_plan(journal, identity, body.study_id)
    asked = RoundRequest(body.plan.benchmark.name, cases, body.plan_digest, agreed, body.plan.purpose)
    return Explanation(decide_round(policy, asked))


def _evaluation(home: Home, journal: Journal, policy: Policy, task_id: str, body: EvaluationTask) -> Explanation:
    """Ask what is asked of the whole, then of each model. What the jail finds in a file is only in the answer."""
    history = Ledger(journal).spent(besides=task_id)
    holding = find_holding(home, body.cohort, body.benchmark)
    cases = holding.manifest.count(SPLIT) if holding else None
    whole = decide_question(policy, EvaluationRequest(body.benchmark.name, cases, (), (), body.purpose))
    owners = body.owners or ("",) * len(body.models)
    asked = [AskedModel(model.digest, owner) for model, owner in zip(body.models, owners, strict=True)]
    decisions = decide_models(policy, body.benchmark.name, asked, history)
    item = Outbox(journal).about("estimate-block", task_id)
    answered = {entry["model"]: entry["code"] for entry in content(item).get("refused", ())} if item else {}
    return Explanation(
        whole,
        tuple(
            ExplainedModel(model.digest, model.owner, decisions[model.digest], answered.get(model.digest))
            for model in asked
        ),
    )
