"""Which study plans cannot hold what they promise, each with a coded reason: pure, so that everybody judges alike."""

from dataclasses import dataclass

from silo_node.wire.course import KEPT_MODELS, Buffered
from silo_node.wire.promises import promise_fault
from silo_node.wire.strategies import Ditto, FLTrust, Mean, NormClipping, Scaffold, liars_assumed, sites_needed
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
        or _no_gradients(plan)
        or _beside_a_promise(plan)
        or _gate_out_of_reach(plan)
        or _not_buffered(plan)
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


def _no_gradients(plan: StudyPlan) -> Unsound | None:
    """A control variate is a mean gradient, worked out from the way a silo went: that needs plain steps."""
    if not isinstance(plan.strategy, Scaffold):
        return None
    local = plan.local
    if plan.privacy is not None:
        return Unsound("plan-privacy-training", "scaffold needs steps over all cases, and private ones draw theirs")
    if not isinstance(plan.robust, Mean):
        return Unsound("plan-scaffold-rule", f"{plan.robust.name} would guard the model and not the control variate")
    if local.optimiser == "sgd" and local.momentum == 0 and local.proximal == 0 and local.normalise_to is None:
        return None
    return Unsound("plan-scaffold-steps", "scaffold needs local.optimiser sgd with local.momentum 0 and nothing else")


def _beside_a_promise(plan: StudyPlan) -> Unsound | None:
    """The score of a second model trained on the same patients would tell of them beyond what was promised."""
    if plan.privacy is None or not (isinstance(plan.personal, Ditto) or plan.evaluation.alone):
        return None
    what = "ditto" if isinstance(plan.personal, Ditto) else "evaluation.alone"
    return Unsound("plan-privacy-training", f"{what} trains a second model, whose score the promise does not cover")


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
        "scaffold": isinstance(plan.strategy, Scaffold),
        "fltrust": isinstance(plan.robust, FLTrust),
        "a gate": plan.gate is not None,
        "evaluation.patience": plan.evaluation.patience is not None,
    }
    found = next((name for name, there in barred.items() if there), None)
    return None if found is None else Unsound("plan-not-buffered", f"{found} does not go with a buffered schedule")
