"""The policy in words: why a decision fell as it did, and what a whole policy comes to."""

from collections.abc import Iterator
from typing import Any

from silo_node.policy.decisions import Decision
from silo_node.policy.schema import Policy

_VERDICTS = {"allow": "Yes", "hold": "A person decides", "refuse": "No"}


def explained(decision: Decision) -> str:
    """Return a decision as a row of checks, the one that decided last."""
    code = f" [{decision.code}]" if decision.code else ""
    lines = [f"{_VERDICTS[decision.verdict]}{code}: rule {decision.rule} decided.", ""]
    lines += [f"  {'no ' if check.code else 'yes'}  {check.rule}: {check.words}" for check in decision.checks]
    return "\n".join(lines)


def explanation(decision: Decision) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    return {
        "verdict": decision.verdict,
        "code": decision.code,
        "rule": decision.rule,
        "words": decision.words,
        "checks": [{"rule": check.rule, "code": check.code, "words": check.words} for check in decision.checks],
    }


def consequences(policy: Policy) -> Iterator[str]:
    """Yield what a policy comes to where it is less careful than the default, or of no use."""
    if not policy.benchmarks.allow:
        yield "No benchmark is allowed, so this site takes part in nothing."
    if policy.release.results == "auto":
        yield "Results of evaluations leave without a person's look."
    if policy.release.updates == "auto":
        yield "Model updates leave without a person's look; they can carry traces of training data."
    if policy.studies.others == "auto":
        yield "Any study of an allowed benchmark is said yes to."
    if 3 in policy.model_tiers and policy.containers:
        yield f"{len(policy.containers)} model(s) with code may run in the jail."
    if 3 in policy.model_tiers and not policy.containers:
        yield "Tier 3 is allowed but no digest is in containers, so no model with code runs."
    if policy.containers and 3 not in policy.model_tiers:
        yield "containers names digests, but tier 3 is not in model_tiers, so none of them runs."
    if policy.intake.allow_pixel_risks:
        yield "Images are taken in although their pixels may show who the patient is."
