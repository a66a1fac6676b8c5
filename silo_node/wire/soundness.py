"""Which study plans cannot hold what they promise, each with a coded reason: pure, so that everybody judges alike."""

from dataclasses import dataclass

from silo_node.wire.masking import LEAST_SITES, SecureAggregation, groups_of, threshold_of
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
        _masks_not_sound(plan)
        or _too_few_sites(plan)
        or _root_absent(plan)
        or _idle_clipping(plan)
        or _not_normalisable(plan)
    )


def _too_few_sites(plan: StudyPlan) -> Unsound | None:
    """A round may go on with no more than its quorum, so the rule's promise must hold for that many."""
    needed, liars = sites_needed(plan.robust), liars_assumed(plan.robust)
    if plan.quorum >= needed or plan.secure_aggregation is not None:
        return None
    against = f" against {liars}" if liars else ""
    return Unsound(
        "plan-rule-sites", f"{plan.robust.name}{against} needs {needed} updates; the quorum is {plan.quorum}"
    )


def _masks_not_sound(plan: StudyPlan) -> Unsound | None:
    """A rule sees sums of groups only, so it needs as many groups as it would need sites."""
    masking = plan.secure_aggregation
    if masking is None:
        return None
    if sorted(member.silo_id for member in masking.members) != sorted(plan.silos):
        return Unsound("plan-masked-members", f"{len(masking.members)} keys for {len(plan.silos)} silos")
    if (fault := _groups_too_small(plan, masking)) is not None:
        return fault
    if isinstance(plan.robust, FLTrust) or masking.groups < sites_needed(plan.robust):
        return Unsound("plan-masked-rule", f"{plan.robust.name} over {masking.groups} sums")
    if plan.robust.name == "norm_clipping" and masking.groups == 1:
        return Unsound("plan-masked-rule", "norm_clipping over a single sum")
    if plan.compression.level != "none":
        return Unsound("plan-masked-compression", f"compression {plan.compression.level}")
    return Unsound("plan-masked-bound", "norm_bound") if plan.norm_bound is not None else None


def _groups_too_small(plan: StudyPlan, masking: SecureAggregation) -> Unsound | None:
    """Two sets that could each open a sum must have a silo in common, so that none answers twice unseen."""
    sizes = [len(group) for group in groups_of(plan.silos, masking.groups, plan.seed)]
    least, most = min(sizes), max(sizes)
    if least < LEAST_SITES or plan.quorum < LEAST_SITES:
        return Unsound("plan-masked-sites", f"{least} silos in a group, a quorum of {plan.quorum}")
    threshold = threshold_of(masking, least)
    if not most < 2 * threshold_of(masking, most) or threshold > least:
        return Unsound("plan-masked-sites", f"a threshold of {threshold} in a group of {least}")
    return None


def _root_absent(plan: StudyPlan) -> Unsound | None:
    if isinstance(plan.robust, FLTrust) and plan.robust.root not in plan.silos:
        return Unsound("plan-root-absent", f"{plan.robust.root} is not among the silos")
    return None


def _idle_clipping(plan: StudyPlan) -> Unsound | None:
    rule, bound = plan.robust, plan.norm_bound
    if isinstance(rule, NormClipping) and bound is not None and rule.radius >= bound:
        return Unsound("plan-clipping-idle", f"the radius {rule.radius:g} is not under the norm bound {bound:g}")
    return None


def _not_normalisable(plan: StudyPlan) -> Unsound | None:
    """The paper's number of effective steps is that of gradient descent with momentum, without a proximal term."""
    local = plan.local
    if local.normalise_to is None or (local.optimiser == "sgd" and local.proximal == 0):
        return None
    what = "a proximal term" if local.optimiser == "sgd" else local.optimiser
    return Unsound("plan-not-normalisable", f"local.normalise_to does not go with {what}")
