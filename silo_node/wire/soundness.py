"""Which study plans cannot hold what they promise, each with a coded reason: pure, so that everybody judges alike."""

from dataclasses import dataclass

from silo_node.wire.promises import promise_fault
from silo_node.wire.strategies import FLTrust, NormClipping, liars_assumed, sites_needed
from silo_node.wire.studies import StudyPlan


@dataclass(frozen=True, slots=True)
class Unsound:
    """Why a plan cannot hold: a code of ``PROBLEMS``, and a sentence with the plan's own numbers."""

    code: str
    detail: str


def first_fault(plan: StudyPlan) -> Unsound | None:
    """Return the first reason why a plan cannot hold, or None for a sound one."""
    return (
        _too_few_sites(plan)
        or _root_absent(plan)
        or _idle_clipping(plan)
        or _not_normalisable(plan)
        or _promise_not_kept(plan)
    )


def _too_few_sites(plan: StudyPlan) -> Unsound | None:
    """A round may go on with no more than its quorum, so the rule's promise must hold for that many."""
    needed, liars = sites_needed(plan.robust), liars_assumed(plan.robust)
    if plan.quorum >= needed:
        return None
    against = f" against {liars}" if liars else ""
    return Unsound(
        "plan-rule-sites", f"{plan.robust.name}{against} needs {needed} updates; the quorum is {plan.quorum}"
    )


def _root_absent(plan: StudyPlan) -> Unsound | None:
    if isinstance(plan.robust, FLTrust) and plan.robust.root not in plan.silos:
        return Unsound("plan-root-absent", f"{plan.robust.root} is not among the silos")
    return None


def _idle_clipping(plan: StudyPlan) -> Unsound | None:
    rule, bound = plan.robust, plan.norm_bound
    if isinstance(rule, NormClipping) and bound is not None and rule.radius >= bound:
        return Unsound("plan-clipping-idle", f"the radius {rule.radius:g} is not under the norm bound {bound:g}")
    return None


def _promise_not_kept(plan: StudyPlan) -> Unsound | None:
    fault = promise_fault(plan)
    return Unsound(*fault) if fault else None


def _not_normalisable(plan: StudyPlan) -> Unsound | None:
    """The paper's number of effective steps is that of gradient descent with momentum, without a proximal term."""
    local = plan.local
    if local.normalise_to is None or (local.optimiser == "sgd" and local.proximal == 0):
        return None
    what = "a proximal term" if local.optimiser == "sgd" else local.optimiser
    return Unsound("plan-not-normalisable", f"local.normalise_to does not go with {what}")
