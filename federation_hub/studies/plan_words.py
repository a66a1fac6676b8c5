"""What a study's plan says, in words for its page: how it trains and combines, and what protects what."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.studies.course import keeps_best
from federation_hub.studies.tables import Study
from federation_hub.web.rendering import link
from federation_hub.web.words import plural
from silo_node.web.formats import day
from silo_node.wire.protection import Answer as Protection
from silo_node.wire.protection import what_protects_what
from silo_node.wire.strategies import chosen
from silo_node.wire.studies import StudyPlan

PERSONAL = {
    "none": "nothing of its own",
    "fedbn": "normalisation layers of its own (FedBN)",
    "ditto": "a personal model beside the global one (Ditto)",
}
PACES = {
    "rounds": "each round waits for its sites until the deadline",
    "buffered": "a new model as soon as there are as many updates as the quorum; older ones count less (FedBuff)",
}
Facts = tuple[tuple[str, str | Markup], ...]
"""Each with its name; a value may be a link."""


def facts(study: Study, plan: StudyPlan, benchmark: Benchmark, labels: Mapping[str, str]) -> Facts:
    """Return a plan in lines, with what became of it."""
    local: dict[str, Any] = plan.local.model_dump()
    training = f"{plural(local['epochs'], 'epoch')}, {local['optimiser']}, learning rate {local['learning_rate']:g}"
    bound = f"{plan.norm_bound:g}" if plan.norm_bound is not None else "none"
    title = Markup('<a href="{}">{}</a>').format(
        link("benchmarks", benchmark.name, benchmark.version), f"{benchmark.name}, version {benchmark.version}"
    )
    return (
        ("Benchmark", title),
        *_combining(plan, labels),
        ("Local training", training),
        ("Quorum", f"{plan.quorum} of {plural(len(plan.silos), 'site')}"),
        ("Deadline of a round", f"{plan.deadline_seconds:,} s"),
        ("Largest norm of an update", bound),
        ("Kept at each site", PERSONAL[plan.personal.name]),
        ("Pace", PACES[plan.schedule.name]),
        ("Scored at the sites", _evaluation(plan)),
        ("What a site may refuse", _gate(plan)),
        ("Privacy", Markup('<a href="{}">claim sheet</a>').format(link("studies", study.id, "privacy"))),
        ("Seed", str(plan.seed)),
        ("Plan", Markup('<code class="digest">{}</code>').format(study.plan_digest)),
        ("Started", day(study.started)),
        ("Finished", day(study.finished)),
    )


def protection(plan: StudyPlan, labels: Mapping[str, str]) -> tuple[Protection, ...]:
    """Return what protects what, with the sites named as the public knows them."""
    return tuple(
        Protection(entry.question, tuple(_labelled(answer, labels) for answer in entry.answers))
        for entry in what_protects_what(plan)
    )


def _labelled(text: str, labels: Mapping[str, str]) -> str:
    """Name a trusted silo as the public knows it, not by its id."""
    for silo, label in labels.items():
        text = text.replace(silo, label)
    return text


def _evaluation(plan: StudyPlan) -> str:
    rule = plan.evaluation
    often = "every round's model" if rule.every == 1 else f"the model of every {rule.every} rounds, and the last"
    kept = "the best one is registered" if keeps_best(plan) else "the last one is registered"
    early = f"; training stops after {plural(rule.patience, 'model')} without a gain" if rule.patience else ""
    return f"{often}; {kept}{early}"


def _gate(plan: StudyPlan) -> str:
    gate = plan.gate
    if gate is None:
        return "nothing"
    return (
        f"a model worse there by more than {gate.tolerance:g}, going on from its own; "
        f"{plural(gate.vetoes, 'veto', 'vetoes')} for a loss over {gate.veto:g} roll the model back"
    )


def _combining(plan: StudyPlan, labels: Mapping[str, str]) -> Facts:
    graph = plan.decentralised
    if graph is not None:
        links = plural(len(graph.edges), "pair of neighbours", "pairs of neighbours")
        return (
            ("Aggregator", f"none: {links} show each other encrypted models, and each site keeps its own"),
            ("A site listens by", chosen(graph.rule)),
        )
    masks = plan.secure_aggregation
    summed = "the hub reads each update" if masks is None else f"the hub reads {plural(masks.groups, 'sum')} only"
    return (
        ("Strategy", chosen(plan.strategy)),
        ("Sites' updates are combined by", _labelled(chosen(plan.robust), labels)),
        ("Secure aggregation", summed),
        ("Compression", _compression(plan)),
    )


def _compression(plan: StudyPlan) -> str:
    level = plan.compression.level
    return level if level in ("none", "lossless") else f"{level}; a site may send its updates at one that loses less"
