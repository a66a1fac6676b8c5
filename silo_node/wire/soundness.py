"""Which study plans cannot hold what they promise, each with a coded reason: pure, so that everybody judges alike."""

from dataclasses import dataclass

from silo_node.wire.compression import LEVELS, OtherRelease
from silo_node.wire.course import KEPT_MODELS, Buffered
from silo_node.wire.masking import LEAST_SITES, SecureAggregation, groups_of, threshold_of
from silo_node.wire.neighbours import SelfCentredClipping
from silo_node.wire.privacy import PatientPrivacy, SiloPrivacy
from silo_node.wire.promises import promise_fault
from silo_node.wire.strategies import FedAvg, FLTrust, Mean, NormClipping, Scaffold, Shared, liars_assumed, sites_needed
from silo_node.wire.studies import StudyPlan


@dataclass(frozen=True, slots=True)
class Unsound:
    """Why a plan cannot hold: a code of ``PROBLEMS``, and a sentence with the plan's own numbers."""

    code: str
    detail: str


def first_fault(plan: StudyPlan) -> Unsound | None:
    """Return the first reason why a plan cannot hold, or None for a sound one."""
    return (
        _level_unknown(plan)
        or _without_aggregator(plan)
        or _masks_not_sound(plan)
        or _too_few_sites(plan)
        or _root_absent(plan)
        or _idle_clipping(plan)
        or _not_normalisable(plan)
        or _no_gradients(plan)
        or _gate_out_of_reach(plan)
        or _not_buffered(plan)
        or _promise_not_kept(plan)
    )


def _level_unknown(plan: StudyPlan) -> Unsound | None:
    level = plan.compression
    if not isinstance(level, OtherRelease):
        return None
    return Unsound("compression-unknown", f"compression {level.name}; this release knows {', '.join(LEVELS)}")


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
    if isinstance(plan.strategy, Scaffold):
        return Unsound("plan-masked-single", "scaffold works the control variate out of each silo's own update")
    if isinstance(plan.schedule, Buffered):
        return Unsound(
            "plan-masked-single", "a buffered round takes single updates as they come; a sum is of silos at once"
        )
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


def _promise_not_kept(plan: StudyPlan) -> Unsound | None:
    fault = promise_fault(plan)
    if fault is not None:
        return Unsound(*fault)
    beside = not isinstance(plan.personal, Shared) or plan.evaluation.alone or isinstance(plan.strategy, Scaffold)
    counted = plan.secure_aggregation is not None or isinstance(plan.schedule, Buffered)
    if isinstance(plan.privacy, SiloPrivacy) and (counted or isinstance(plan.strategy, Scaffold)):
        return Unsound(
            "plan-privacy-training",
            "noise at the hub is made for one clipped update a silo and round, which it must see; privacy.unit patient "
            "draws it at the silos and goes with masks and a buffered schedule",
        )
    if isinstance(plan.privacy, PatientPrivacy) and beside:
        return Unsound(
            "plan-privacy-training",
            "only the shared model's training is noisy and booked; take personal, evaluation.alone or scaffold away",
        )
    return None


def _not_normalisable(plan: StudyPlan) -> Unsound | None:
    """The paper's number of effective steps is that of gradient descent with momentum, without a proximal term."""
    local = plan.local
    if local.normalise_to is None or (local.optimiser == "sgd" and local.proximal == 0):
        return None
    what = "a proximal term" if local.optimiser == "sgd" else local.optimiser
    return Unsound("plan-not-normalisable", f"local.normalise_to does not go with {what}")


def _no_gradients(plan: StudyPlan) -> Unsound | None:
    """A control variate is a mean gradient, worked out from the way a silo went: that needs plain steps."""
    if not isinstance(plan.strategy, Scaffold):
        return None
    local = plan.local
    if plan.compression.level not in ("none", "lossless"):
        return Unsound(
            "plan-scaffold-steps",
            f"compression {plan.compression.level} rounds what the hub works the control variate out of; take lossless",
        )
    if not isinstance(plan.robust, Mean):
        return Unsound("plan-scaffold-rule", f"{plan.robust.name} would guard the model and not the control variate")
    if local.optimiser == "sgd" and local.momentum == 0 and local.proximal == 0 and local.normalise_to is None:
        return None
    return Unsound("plan-scaffold-steps", "scaffold needs local.optimiser sgd with local.momentum 0 and nothing else")


def _gate_out_of_reach(plan: StudyPlan) -> Unsound | None:
    gate = plan.gate
    if gate is None:
        return None
    if gate.vetoes > plan.quorum:
        return Unsound("plan-gate-unreachable", f"{gate.vetoes} vetoes and a quorum of {plan.quorum}")
    if plan.evaluation.every > KEPT_MODELS:
        return Unsound("plan-gate-seldom", f"every {plan.evaluation.every} rounds; {KEPT_MODELS} models are kept")
    return None


def _not_buffered(plan: StudyPlan) -> Unsound | None:
    """With models of several ages at work nobody can say which one a veto, a stop or a control variate is about."""
    if not isinstance(plan.schedule, Buffered):
        return None
    barred = {
        "scaffold, whose control variate is of one model": isinstance(plan.strategy, Scaffold),
        "fltrust, whose root may not be among those that came": isinstance(plan.robust, FLTrust),
        "a gate, whose verdicts would be about models of several ages": plan.gate is not None,
        "evaluation.patience, since models are not scored one after the other": plan.evaluation.patience is not None,
    }
    found = next((words for words, there in barred.items() if there), None)
    return None if found is None else Unsound("plan-not-buffered", found)


def _without_aggregator(plan: StudyPlan) -> Unsound | None:
    """What the hub would do to updates cannot be done to models it cannot read."""
    graph = plan.decentralised
    if graph is None:
        return None
    asked = {
        "strategy": not isinstance(plan.strategy, FedAvg),
        "robust": not isinstance(plan.robust, Mean),
        "norm_bound": plan.norm_bound is not None,
        "secure_aggregation": plan.secure_aggregation is not None,
        "personal": not isinstance(plan.personal, Shared),
        "schedule": isinstance(plan.schedule, Buffered),
        "gate": plan.gate is not None,
        "compression": plan.compression.level != "none",
        "baseline": plan.baseline is not None,
        "evaluation": plan.evaluation.alone or plan.evaluation.patience is not None,
        "privacy": isinstance(plan.privacy, SiloPrivacy),
    }
    if (found := next((name for name, there in asked.items() if there), None)) is not None:
        return Unsound("plan-decentralised", f"{found} is not for silos that keep a model each")
    fewest = min(len(graph.neighbours(silo)) for silo in plan.silos)
    if isinstance(graph.rule, SelfCentredClipping) and 2 * graph.rule.liars >= fewest:
        return Unsound("plan-liars", f"{graph.rule.liars} liars among {fewest} neighbours")
    return None
