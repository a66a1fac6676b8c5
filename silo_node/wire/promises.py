"""What a plan's promise of privacy comes to: why it cannot hold, and in whole sentences what a patient is promised."""

from silo_node.wire.privacy import PatientPrivacy, SiloPrivacy
from silo_node.wire.strategies import Mean
from silo_node.wire.studies import StudyPlan

WEAKEST_EPSILON, LARGEST_DELTA = 50.0, 1e-3


def promise_fault(plan: StudyPlan) -> tuple[str, str] | None:
    """Return a code and a sentence where a plan promises what it cannot keep, or nothing worth the name."""
    promise = plan.privacy
    if promise is None:
        return None
    if promise.epsilon > WEAKEST_EPSILON:
        return "plan-privacy-weak", f"epsilon {promise.epsilon:g} is over {WEAKEST_EPSILON:g}"
    if isinstance(promise, PatientPrivacy) and promise.delta > LARGEST_DELTA:
        return "plan-privacy-weak", f"delta {promise.delta:g} is over {LARGEST_DELTA:g}"
    if isinstance(promise, SiloPrivacy) and not isinstance(plan.robust, Mean):
        words = "noise at the hub is added to a mean of clipped updates, and the plan combines them by"
        return "plan-privacy-training", f"{words} {plan.robust.name}"
    if isinstance(promise, SiloPrivacy) and len(plan.silos) < 2:
        return "plan-privacy-training", "with one silo there is nobody to hide it among"
    return None


def what_is_promised(plan: StudyPlan) -> tuple[str, ...]:
    """Return what a patient is promised, and where the promise ends."""
    stays = "Images, labels and scores of single cases stay at the site."
    if isinstance(plan.privacy, PatientPrivacy):
        return (stays, *_to_patients(plan.privacy))
    if isinstance(plan.privacy, SiloPrivacy):
        return (stays, *_to_silos(plan.privacy, len(plan.silos)))
    return (
        stays,
        "No more than that: without differential privacy, who sees an update or the model may learn something "
        "about a patient it was trained on.",
    )


def _to_patients(promise: PatientPrivacy) -> tuple[str, ...]:
    return (
        f"Differential privacy for each training patient, with all of his images: epsilon {promise.epsilon:g}, delta "
        f"{promise.delta:g}, over all rounds of this study, against everybody who sees updates or models.",
        "The noise is drawn inside the hospital; neither the hub nor another site need be trusted for it.",
        "Validation scores are of other patients and have no noise; what the study says about people in general is no "
        "breach of the promise.",
    )


def _to_silos(promise: SiloPrivacy, silos: int) -> tuple[str, ...]:
    return (
        f"Differential privacy for each silo as a whole: epsilon {promise.epsilon:g}, delta {promise.delta:g}, over "
        "all rounds, against everybody who sees only the global models.",
        "None of that against the hub, which sees every update before it adds the noise, and must be trusted.",
        f"With {silos} silos that much noise is large beside the mean of their updates: it is made for many silos or "
        "small models.",
    )
