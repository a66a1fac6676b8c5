"""The decisions: pure functions of (policy, request), each naming the rule that decided."""

from dataclasses import dataclass
from typing import Literal

from silo_node.policy.rules import Policy
from silo_node.wire.studies import StudyPlan

Verdict = Literal["allow", "hold", "refuse"]
Released = Literal["registrations", "results", "updates"]


@dataclass(frozen=True)
class Decision:
    """A verdict, the code the other side is told, and the rule that decided, for the site's own people."""

    verdict: Verdict
    code: str | None
    rule: str


@dataclass(frozen=True)
class EvaluationRequest:
    """What an evaluation asks: these models on this many cases of a cohort."""

    benchmark: str
    cases: int | None
    """None where this site has no such cohort."""

    tiers: tuple[int, ...]


@dataclass(frozen=True)
class RoundRequest:
    """What a round asks: to train or validate on this many cases, under a plan that was or was not agreed to."""

    benchmark: str
    cases: int | None
    plan_digest: str
    agreed_digest: str | None
    """Digest of the plan this site said yes to; None where it never did."""


def decide_evaluation(policy: Policy, request: EvaluationRequest) -> Decision:
    """Decide whether an evaluation may run."""
    if request.benchmark not in policy.benchmarks.allow:
        return Decision("refuse", "policy-benchmark", "benchmarks.allow")
    if not set(request.tiers) <= set(policy.model_tiers):
        return Decision("refuse", "policy-model-tier", "model_tiers")
    return _decide_cases(policy, request.cases) or Decision("allow", None, "benchmarks.allow")


def decide_consent(policy: Policy, plan: StudyPlan, training_cases: int | None) -> Decision:
    """Decide whether this site joins a study; ``training_cases`` is None where it has no cohort for the benchmark."""
    if plan.benchmark.name not in policy.benchmarks.allow:
        return Decision("refuse", "policy-benchmark", "benchmarks.allow")
    refusal = _decide_cases(policy, training_cases)
    if refusal is not None:
        return refusal
    if plan.rounds > policy.studies.maximum_rounds:
        return Decision("refuse", "policy-study", "studies.maximum_rounds")
    if plan.name in policy.studies.allow:
        return Decision("allow", None, "studies.allow")
    verdicts: dict[str, Decision] = {
        "auto": Decision("allow", None, "studies.others"),
        "hold": Decision("hold", None, "studies.others"),
        "refuse": Decision("refuse", "policy-study", "studies.others"),
    }
    return verdicts[policy.studies.others]


def decide_round(policy: Policy, request: RoundRequest) -> Decision:
    """Decide whether a round may run: the plan must be, to the byte, the one that was agreed to."""
    if request.agreed_digest is None or request.agreed_digest != request.plan_digest:
        return Decision("refuse", "policy-study", "consent")
    if request.benchmark not in policy.benchmarks.allow:
        return Decision("refuse", "policy-benchmark", "benchmarks.allow")
    return _decide_cases(policy, request.cases) or Decision("allow", None, "consent")


def decide_release(policy: Policy, what: Released) -> Decision:
    """Decide whether something that was computed leaves by itself or waits for a person."""
    auto = getattr(policy.release, what) == "auto"
    return Decision("allow" if auto else "hold", None, f"release.{what}")


def _decide_cases(policy: Policy, cases: int | None) -> Decision | None:
    """Refuse a cohort that is not there or too small; asked after what does not depend on what the site holds."""
    if cases is None:
        return Decision("refuse", "cohort-unknown", "cohorts")
    return Decision("refuse", "policy-minimum-cohort", "minimum_cohort") if cases < policy.minimum_cohort else None
