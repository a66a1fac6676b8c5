"""What protects what in a study: four questions every hospital asks, answered from the plan alone.

The answers promise nothing the plan does not hold; what is left open is said, too. Shown where a plan is checked, on
the study's page, and to the steward who decides.
"""

from dataclasses import dataclass

from silo_node.wire.masking import SecureAggregation, groups_of, least_survivors, threshold_of
from silo_node.wire.neighbours import Balance, Decentralised, Gossip, NeighbourRule, SelfCentredClipping, Ubar
from silo_node.wire.privacy import PatientPrivacy
from silo_node.wire.promises import what_is_promised
from silo_node.wire.strategies import (
    CentredClipping,
    Combination,
    FedBN,
    FLTrust,
    Mean,
    NormClipping,
    Scaffold,
    Shared,
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
    if plan.decentralised is not None:
        return _without_aggregator(plan, plan.decentralised)
    return (
        Answer("Who can see an update?", _who_sees(plan)),
        Answer("Who could spoil the model?", _who_spoils(plan)),
        Answer("What is a patient promised?", what_is_promised(plan)),
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
        *_sites_that_refuse(plan),
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


def _sites_that_refuse(plan: StudyPlan) -> tuple[str, ...]:
    gate = plan.gate
    if gate is None:
        return ()
    who = "One site" if gate.vetoes == 1 else f"{gate.vetoes} sites together"
    return (
        f"A site goes on from its own model where the global one scores more than {gate.tolerance:g} worse there. "
        f"{who} that score it more than {gate.veto:g} worse roll it back, and could so hold the study up.",
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


def _how_large(plan: StudyPlan) -> str:
    level = plan.compression.level
    if level in ("none", "lossless"):
        return "as large as the model" if level == "none" else "smaller than the model, to the last bit"
    return f"smaller than the model (compression {level}, or less lossy where a site's policy says so)"


def _masked_size(masking: SecureAggregation) -> str:
    return "exactly" if masking.word_bits == 32 else "half"


def _what_leaves(plan: StudyPlan) -> tuple[str, ...]:
    noisy = ", with the noise of differential privacy in it" if isinstance(plan.privacy, PatientPrivacy) else ""
    timed = ", and the seconds of training" if plan.privacy is None else ""
    if plan.secure_aggregation is not None:
        return (
            f"In each of {plan.rounds} rounds one file, {_masked_size(plan.secure_aggregation)} as large as the model: "
            "the change of its weights under masks, "
            "which without them is noise.",
            "With it the keys, sealed shares, confirmation and opening of the round, and one rounded validation score, "
            f"and the number of validation cases{timed}.",
        )
    return (
        f"In each of {plan.rounds} rounds one file: the change of the model's weights{noisy}, {_how_large(plan)}.",
        f"With it, and once more at the end, one rounded validation score and the number of validation cases{timed}.",
        *_what_else_leaves(plan),
    )


def _what_else_leaves(plan: StudyPlan) -> tuple[str, ...]:
    beside = [
        *(["of the site's personal model"] if not isinstance(plan.personal, Shared) else []),
        *(["of a model trained at the site alone"] if plan.evaluation.alone else []),
    ]
    told = [
        *([f"One more rounded score each {' and '.join(beside)}; these models stay."] if beside else []),
        *(["With each scored model a yes, a no or a veto."] if plan.gate is not None else []),
        *(["Normalisation layers stay at the site."] if isinstance(plan.personal, FedBN) else []),
        *(["The site's control variate stays; the hub can work it out."] if _has_control(plan) else []),
    ]
    return tuple(told)


def _has_control(plan: StudyPlan) -> bool:
    return isinstance(plan.strategy, Scaffold)


def _without_aggregator(plan: StudyPlan, graph: Decentralised) -> tuple[Answer, ...]:
    """Answer for a study in which silos show each other their models."""
    return (
        Answer(
            "Who can see an update?",
            (
                "A silo's neighbours in the graph can read its whole model, every round.",
                "The hub cannot: models are encrypted between silos, under keys each silo signed when it agreed.",
                "The hub does see who is whose neighbour, who listened to whom, sizes, times and validation scores.",
            ),
        ),
        Answer("Who could spoil the model?", (_who_spoils_a_neighbour(graph.rule), _NO_PROOF)),
        Answer("What is a patient promised?", what_is_promised(plan)),
        Answer(
            "What leaves the building?",
            (
                f"In each of {plan.rounds} rounds one file: this site's whole model, encrypted for its neighbours.",
                "With it, and once more at the end, one rounded validation score, the number of validation cases, the "
                "seconds of training, and which neighbours this site listened to.",
                "No global model comes out: each silo keeps its own.",
            ),
        ),
    )


_NO_PROOF = "Whether a neighbour trained as agreed, nobody can check; a hidden trigger in its model may go unseen."


def _who_spoils_a_neighbour(rule: NeighbourRule) -> str:
    match rule:
        case Gossip():
            return "Any single neighbour: the plain mean follows whatever it shows."
        case Balance():
            return (
                "A neighbour that stays within the radius of one's own model: it can pull slowly, and a backdoor fits "
                "into it. One that goes beyond is not listened to."
            )
        case Ubar():
            return "A neighbour whose model does as well on this site's validation cases, whatever else it does."
        case SelfCentredClipping():
            return (
                f"More than {rule.liars} neighbours of one site; up to that many move it by no more than the honest "
                "ones differ."
            )
