"""The site's own rules: what is taken part in, what runs, and what may leave without a person's yes.

``rules`` reads the file at each decision, so that a change counts from the next one on; ``decisions`` are pure
functions of (policy, request).
"""

from silo_node.policy.decisions import (
    Decision,
    EvaluationRequest,
    RoundRequest,
    decide_consent,
    decide_evaluation,
    decide_release,
    decide_round,
)
from silo_node.policy.rules import Policy, allow_benchmark, drop_benchmark, load_policy

__all__ = [
    "Decision",
    "EvaluationRequest",
    "Policy",
    "RoundRequest",
    "allow_benchmark",
    "decide_consent",
    "decide_evaluation",
    "decide_release",
    "decide_round",
    "drop_benchmark",
    "load_policy",
]
