"""The site's own rules: what is taken part in, what runs, and what may leave without a person's yes.

``rules`` reads the file at each decision, so that a change counts from the next one on; ``decisions`` are pure
functions of (policy, request, history); ``schema`` is every rule there is.
"""

from silo_node.policy.decisions import (
    AskedModel,
    Asker,
    Check,
    Decision,
    EvaluationRequest,
    RoundRequest,
    agreed_level,
    decide_consent,
    decide_evaluation,
    decide_learning,
    decide_models,
    decide_question,
    decide_release,
    decide_round,
    decide_spending,
    offered_levels,
)
from silo_node.policy.rules import allow_benchmark, drop_benchmark, load_policy
from silo_node.policy.schema import Policy

__all__ = [
    "AskedModel",
    "Asker",
    "Check",
    "Decision",
    "EvaluationRequest",
    "Policy",
    "RoundRequest",
    "agreed_level",
    "allow_benchmark",
    "decide_consent",
    "decide_evaluation",
    "decide_learning",
    "decide_models",
    "decide_question",
    "decide_release",
    "decide_round",
    "decide_spending",
    "drop_benchmark",
    "load_policy",
    "offered_levels",
]
