"""What protects what in a study: four questions every hospital asks, answered from the plan alone.

The answers promise nothing the plan does not hold; what is left open is said, too. Shown where a plan is checked, on
the study's page, and to the steward who decides.
"""

from dataclasses import dataclass

from silo_node.wire.masking import SecureAggregation, groups_of, least_survivors, threshold_of
from silo_node.wire.strategies import (
    CentredClipping,
    Combination,
    FLTrust,
    Mean,
    NormClipping,
    liars_assumed,
)
from silo_node.wire.studies import StudyPlan


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the four questions and its answers, each a whole sentence."""

    question: str
    answers: tuple[str, ...]


def what_protects_what(plan: StudyPlan) -> tuple[Answer, ...]:
    """Return who can see an update, who could spoil the model, what a patient is promised, what leaves the building."""
    return (
        Answer("Who can see an update?", _who_sees(plan)),
        Answer("Who could spoil the model?", _who_spoils(plan)),
        Answer("What is a patient promised?", _what_is_promised()),
        Answer("What leaves the building?", _what_leaves(plan)),
    )


def _who_sees(plan: StudyPlan) -> tuple[str, ...]:
    masking = plan.secure_aggregation
    if masking is not None:
        return _who_sees_sums(plan, masking)
    return (
        "The hub can read every site's update; this study has no secure aggregation.",
        "The other sites get the global model, never another site's update.",
    )


def _who_sees_sums(plan: StudyPlan, masking: SecureAggregation) -> tuple[str, ...]:
    sizes = [len(group) for group in groups_of(plan.silos, masking.groups, plan.seed)]
    smallest = min(sizes)
    colluding = threshold_of(masking, smallest)
    return (
        f"Nobody but the site itself: the hub sees a sum over at least {least_survivors(masking, smallest)} sites of "
        f"{'a group' if masking.groups > 1 else 'the round'}, and opens none that is not whole.",
        "All others in a sum together, or all but one with the hub's help, know the last one's update: they "
        "subtract their own.",
        f"The hub together with {colluding} sites of a group of {smallest} could open single updates of it.",
        "It rests on the signing keys in the plan being the hospitals' own: compare their fingerprints by telephone.",
    )


def _who_spoils(plan: StudyPlan) -> tuple[str, ...]:
    return (
        *_sites_that_spoil(plan),
        "The hub computes the global model, and no site can check that computation.",
        "Scores at the sites would show a model that became worse, but not one with a hidden trigger.",
    )


def _sites_that_spoil(plan: StudyPlan) -> tuple[str, ...]:
    rule = plan.robust
    if plan.secure_aggregation is not None:
        return _masked_sites_that_spoil(plan, plan.secure_aggregation)
    if isinstance(rule, Mean):
        bound = f"; only updates longer than {plan.norm_bound:g} are refused" if plan.norm_bound else ""
        return (f"Any single site: the mean follows whatever it sends{bound}.",)
    if isinstance(rule, NormClipping):
        return (
            f"Any single site, slowly: each round it moves the model by at most {rule.radius:g} times its share of "
            "the cases, in a direction of its choice.",
        )
    if isinstance(rule, FLTrust):
        return (
            f"Whoever controls {rule.root}: every update counts as far as it points the way that site's does, and "
            "with its length.",
        )
    return _beyond_the_liars(rule, plan.quorum)


def _masked_sites_that_spoil(plan: StudyPlan, masking: SecureAggregation) -> tuple[str, ...]:
    liars = liars_assumed(plan.robust)
    if not liars:
        return ("Any single site: nobody can look at its update, and the sum follows whatever it sends.",)
    return (
        f"Sites in more than {liars} of {masking.groups} groups: the rule judges sums, and one liar spoils its whole "
        "group.",
    )


def _beyond_the_liars(rule: Combination, quorum: int) -> tuple[str, ...]:
    liars = liars_assumed(rule)
    who = "one site" if liars == 1 else f"{liars} sites"
    radius = f" by more than its radius {rule.radius:g} a step" if isinstance(rule, CentredClipping) else " at will"
    return (
        f"More than {who} together: of at least {quorum} in a round, up to {liars} may send anything without moving "
        f"the model{radius}.",
        "This holds as far as honest sites' updates resemble each other: a site whose patients differ may be passed "
        "over like a liar, and a liar who stays as near as honest sites differ is not found.",
    )


def _what_is_promised() -> tuple[str, ...]:
    return (
        "Images, labels and scores of single cases stay at the site.",
        "No more than that: without differential privacy, who sees an update or the model may learn something "
        "about a patient it was trained on.",
    )


def _how_large(plan: StudyPlan) -> str:
    level = plan.compression.level
    return "as large as the model" if level == "none" else f"smaller than the model (compression {level})"


def _what_leaves(plan: StudyPlan) -> tuple[str, ...]:
    if plan.secure_aggregation is not None:
        return (
            f"In each of {plan.rounds} rounds one file, as large as the model: the change of its weights under masks, "
            "which without them is noise.",
            "With it the keys, sealed shares, confirmation and opening of the round, and one rounded validation score, "
            "the number of validation cases, and the seconds of training.",
        )
    return (
        f"In each of {plan.rounds} rounds one file: the change of the model's weights, {_how_large(plan)}.",
        "With it, and once more at the end, one rounded validation score, the number of validation cases, and the "
        "seconds of training.",
    )
