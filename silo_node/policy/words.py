"""The policy in words: why a decision fell as it did, and what a whole policy comes to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from silo_node.policy.decisions import Decision
from silo_node.policy.schema import Policy

_VERDICTS = {"allow": "Yes", "hold": "A person decides", "refuse": "No"}


@dataclass(frozen=True)
class ExplainedModel:
    """One model of an evaluation, which is decided about by itself."""

    model: str
    """Its digest; empty for one that is imagined."""

    owner: str
    decision: Decision
    answered: str | None = None
    """The code the hub was told of it in this site's answer, which also knows what the jail found in the file."""


@dataclass(frozen=True)
class Explanation:
    """What decides about a request: about the whole of it, then about each model that would be served."""

    decision: Decision
    models: tuple[ExplainedModel, ...] = ()

    @property
    def outcome(self) -> Decision:
        """What comes of the whole: a no to each model is a no to the request, by the first one's rule."""
        refused = [model.decision for model in self.models if model.decision.code is not None]
        nothing_left = bool(self.models) and len(refused) == len(self.models)
        return refused[0] if self.decision.code is None and nothing_left else self.decision


def verdict_line(decision: Decision) -> str:
    """Return a verdict, its code and the rule behind it."""
    code = f" [{decision.code}]" if decision.code else ""
    return f"{_VERDICTS[decision.verdict]}{code}: rule {decision.rule} decided."


def explained(found: Explanation) -> str:
    """Return a decision as a row of checks, the one that decided last; then each model's row."""
    lines = [verdict_line(found.outcome), "", *_rows(found.decision)]
    for model in found.models:
        name = model.model or "the model"
        lines += ["", f"{name} of {model.owner or 'an unnamed organisation'}: {verdict_line(model.decision)}", ""]
        lines += _rows(model.decision)
        if model.answered:
            lines.append(f"  In this site's answer it was refused [{model.answered}].")
    return "\n".join(lines)


def explanation(found: Explanation) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    models = [
        {"model": model.model, "owner": model.owner, "answered": model.answered, **_values(model.decision)}
        for model in found.models
    ]
    outcome = {**_values(found.outcome), "checks": _values(found.decision)["checks"]}
    return {**outcome, "models": models} if found.models else outcome


def _rows(decision: Decision) -> list[str]:
    return [f"  {'no ' if check.code else 'yes'}  {check.rule}: {check.words}" for check in decision.checks]


def _values(decision: Decision) -> dict[str, Any]:
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
