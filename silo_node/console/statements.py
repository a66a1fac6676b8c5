"""What wants to leave, told to the person who lets it go: what it is, every field in words, and what stays here.

Pure: from an item of the outbox and what is known about it to a :class:`Statement`. The exact bytes are shown beside
it, so that nobody has to believe these words.
"""

import json
from dataclasses import dataclass
from math import sqrt
from typing import Any

from silo_node.outbox.box import Item
from silo_node.policy.bits import METRIC_RANGES
from silo_node.privacy.outlook import Outlook
from silo_node.privacy.words import outlook_words
from silo_node.web.formats import metric_name, minute, score, seconds, short_digest, size
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.cohorts import AssociationDecision, CohortRegistration
from silo_node.wire.errors import PROBLEMS
from silo_node.wire.estimates import ClassEstimates, EstimateBlock, MetricEstimate, StructureEstimates
from silo_node.wire.privacy import PatientPrivacy
from silo_node.wire.protection import what_protects_what
from silo_node.wire.statistics import StatisticsReport
from silo_node.wire.studies import RoundReport, StudyConsentRequest

PUBLICATION = {
    "withheld": "Boards do not show this site's own values.",
    "pseudonym": "Boards show this site's values under a letter, not its name.",
    "named": "Boards show this site's values under the hospital's name.",
}
KIND_NAMES = {
    "cohort-registration": "Registration of a cohort",
    "association-decision": "Answer to a study",
    "estimate-block": "Results of an evaluation",
    "round-report": "Update of a study",
    "check-report": "Check of a model",
    "statistics-report": "Counts of patients",
}


@dataclass(frozen=True)
class Fact:
    """One thing that is told, and why it is harmless or what it is for."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of what is told."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Statement:
    """One item in words."""

    kind: str
    title: str
    lead: str
    leaves: tuple[Fact, ...]
    stays: tuple[str, ...]
    yes: str
    no: str
    no_means: str
    about: tuple[Fact, ...] = ()
    """What it is about; not part of what leaves."""

    grids: tuple[Grid, ...] = ()


@dataclass(frozen=True)
class Background:
    """What the node knows beside the item itself; each part may be missing."""

    definition: BenchmarkDefinition | None = None
    request: StudyConsentRequest | None = None
    update_bytes: int | None = None
    bits: float | None = None
    """How many bits the numbers of a result can carry at most."""

    outlook: Outlook | None = None
    """What a study would cost the patients' privacy."""


def statement(item: Item, background: Background) -> Statement:
    """Tell an item in words."""
    payload = item.envelope.payload_bytes()
    if item.kind == "cohort-registration":
        return _registration(CohortRegistration.model_validate_json(payload), background.definition)
    if item.kind == "association-decision":
        return _consent(AssociationDecision.model_validate_json(payload), background)
    if item.kind == "estimate-block":
        return _results(EstimateBlock.model_validate_json(payload), background)
    if item.kind == "statistics-report":
        return _counts(StatisticsReport.model_validate_json(payload))
    return _update(RoundReport.model_validate_json(payload), background)


def numbers_in(value: Any) -> int:
    """Count the numbers in a message, which is what it could tell at most."""
    if isinstance(value, dict):
        return sum(numbers_in(inner) for inner in value.values())
    if isinstance(value, list):
        return sum(numbers_in(inner) for inner in value)
    return int(isinstance(value, int | float) and not isinstance(value, bool))


def _registration(told: CohortRegistration, definition: BenchmarkDefinition | None) -> Statement:
    card = told.card
    labels = definition.labels if definition else tuple(f"class {place}" for place in range(len(card.classes)))
    bands = tuple(zip(labels, card.classes, strict=False))
    return Statement(
        kind=KIND_NAMES["cohort-registration"],
        title=f"Tell the hub of a cohort for {definition.title if definition else told.benchmark.name}",
        lead="The hub learns that this site holds a frozen cohort, how large it is, and coarse counts for its card.",
        leaves=(
            Fact("Benchmark", f"{told.benchmark.name} {told.benchmark.version}"),
            Fact(
                "Fingerprint",
                short_digest(told.fingerprint),
                "made with a key that stays here; nobody can recompute it from images",
            ),
            Fact(
                "Cases",
                f"{told.training_cases} training, {told.validation_cases} validation, {told.test_cases} test",
                "the weight of this site in a federated average",
            ),
            Fact("Patients", _band(card.patients), "a band, not a count"),
            *(Fact(f"Cases of “{label}”", _band(band)) for label, band in bands),
            Fact("Scanner makers", ", ".join(card.makers) or "none told", "only makers with enough patients"),
            Fact("Publication", told.publication, PUBLICATION[told.publication]),
            Fact("Provenance", card.provenance),
        ),
        stays=("every image and its labels", "the manifest: which cases, which patients", "exact counts of classes"),
        yes="Register the cohort",
        no="Do not register it",
        no_means="The hub never hears of this cohort.",
    )


def _band(band: str) -> str:
    return band.replace("-", " to ", 1) if band[0].isdigit() and "or" not in band else band.replace("-", " ")


def _consent(told: AssociationDecision, background: Background) -> Statement:
    request = background.request
    title = request.plan.title if request else "a study"
    return Statement(
        kind=KIND_NAMES["association-decision"],
        title=f"Take part in “{title}”?",
        lead=_study_lead(request),
        about=(*_study_facts(request), *_cost(background.outlook)) if request else (),
        leaves=(
            Fact("Answer", "yes" if told.approve else "no"),
            Fact("To the request", told.association_id),
            Fact("From", told.silo_id),
        ),
        stays=(
            "every image and its labels",
            "scores of single cases",
            "which patients were trained on",
        ),
        yes="Take part",
        no="Do not take part",
        no_means="The hub is told a signed no with the code policy-study, and no reason in words.",
    )


def _study_lead(request: StudyConsentRequest | None) -> str:
    if request is None:
        return "A study asks for this site's yes or no."
    return (
        f"{request.requested_by} ({request.organisation}) asks this site to train a model together with "
        f"{len(request.plan.silos) - 1} other sites. If you say yes, this site's computer trains it here, on this "
        "site's own images, in the sandbox."
    )


def _cost(outlook: Outlook | None) -> tuple[Fact, ...]:
    return tuple(Fact(label, words) for label, words in outlook_words(outlook)) if outlook else ()


def _study_facts(request: StudyConsentRequest) -> tuple[Fact, ...]:
    plan, local = request.plan, request.plan.local
    bound = f"its norm may be {plan.norm_bound:g} at most" if plan.norm_bound else "the plan bounds its norm by nothing"
    return (
        Fact("Benchmark", f"{plan.benchmark.name} {plan.benchmark.version}"),
        Fact("Model", short_digest(plan.model.digest), f"{size(plan.model.size)}, weights without code"),
        Fact("Rounds", str(plan.rounds), f"each waits up to {seconds(float(plan.deadline_seconds))} for its sites"),
        Fact("Sites", f"{len(plan.silos)} asked, {plan.quorum} needed in each round"),
        Fact(
            "Training here",
            f"{local.epochs} {'epoch' if local.epochs == 1 else 'epochs'} a round",
            f"{local.optimiser}, learning rate {local.learning_rate:g}, {local.batch_size} "
            f"{'patients' if isinstance(plan.privacy, PatientPrivacy) else 'images'} at a time",
        ),
        Fact(
            "What each round would send",
            f"one file of about {size(plan.model.size)}",
            f"the change of the model's weights; {bound}",
        ),
        Fact("And with it", f"one validation score, rounded{'' if plan.privacy else ', and the seconds it took'}"),
        *(Fact(entry.question, entry.answers[0], " ".join(entry.answers[1:])) for entry in what_protects_what(plan)),
    )


def _results(told: EstimateBlock, background: Background) -> Statement:
    definition = background.definition
    name = definition.title if definition else told.benchmark.name
    models = len(told.models)
    suppressed = sum(group.status == "suppressed" for group in told.subgroups)
    return Statement(
        kind=KIND_NAMES["estimate-block"],
        title=f"Results of {models} {'model' if models == 1 else 'models'} on {name}",
        lead="The models were run here, in the sandbox, on this site's test cases. These are the estimates over all "
        "of those cases, with how uncertain they are. No value of a single case is among them.",
        leaves=(
            Fact("Benchmark", f"{told.benchmark.name} {told.benchmark.version}"),
            Fact("Cohort", short_digest(told.cohort), "the fingerprint the hub knows"),
            Fact("Cases", f"{told.cases} cases of {told.patients} patients"),
            Fact("Failed predictions", ", ".join(str(count) for count in told.failed), "one number a model"),
            Fact(
                "Smallest counts told",
                f"{told.limits.minimum_cell} cases in a cell, {told.limits.minimum_class} patients in a class",
                "smaller ones are left out, and what they could be computed from",
            ),
            Fact(
                "Subgroups",
                f"{len(told.subgroups) - suppressed} told, {suppressed} left out as too small",
                "by attributes the benchmark declares",
            ),
            Fact("Run", f"{minute(told.started)} to {minute(told.finished)}"),
            Fact(
                "Software", f"MedSilo {told.software.medsilo}, MONAI {told.software.monai}, torch {told.software.torch}"
            ),
            Fact("In all", f"{numbers_in(told.model_dump(mode='json'))} numbers", "and codes; no text, no file"),
            Fact(
                "Whatever a model did", f"{background.bits or 0:,.0f} bits", "is the most that these numbers can tell"
            ),
        ),
        grids=(_estimates(told), *_not_served(told)),
        stays=("every image and its labels", "every prediction", "scores of single cases", "logs"),
        yes="Release the results",
        no="Keep them here",
        no_means="The hub is told the code policy-refuses-release, and nothing of the results.",
    )


def _software(told: EstimateBlock) -> str:
    used = told.software
    return f"MedSilo {used.medsilo}, MONAI {used.monai}, torch {used.torch}"


def _estimates(told: EstimateBlock) -> Grid:
    measured: tuple[ClassEstimates | StructureEstimates, ...] = (*told.classes, *told.structures)
    parts = [(part.label, metric) for part in measured for metric in part.metrics]
    rows = tuple(
        (short_digest(model), label, metric_name(metric.metric), _value(metric, place))
        for place, model in enumerate(told.models)
        for label, metric in parts
    )
    return Grid("Every estimate, with its 95% interval", ("Model", "Of", "Metric", "Value"), rows)


def _not_served(told: EstimateBlock) -> tuple[Grid, ...]:
    """Return the models this site has said no to, each with the code and what it means."""
    rows = tuple(
        (short_digest(refused.model), refused.code, PROBLEMS[refused.code].title if refused.code in PROBLEMS else "")
        for refused in told.refused
    )
    return (Grid("Models this site says no to", ("Model", "Code", "Because"), rows),) if rows else ()


def _value(metric: MetricEstimate, place: int) -> str:
    if metric.status == "undefined":
        return f"not told: {metric.reason}"
    theta, half = metric.theta[place], 1.96 * sqrt(max(metric.cov[place][place], 0.0))
    # A normal interval may reach beyond what a metric can be.
    low, high = max(theta - half, 0.0), min(theta + half, METRIC_RANGES.get(metric.metric, 1.0))
    return f"{score(theta)} ({score(low)} to {score(high)})"


def _counts(told: StatisticsReport) -> Statement:
    cells = tuple((cell.level, "withheld" if cell.patients is None else str(cell.patients)) for cell in told.cells)
    band = () if told.band is None else (Fact("Patients", _band(told.band), "a band; the lowest stands for none, too"),)
    return Statement(
        kind=KIND_NAMES["statistics-report"],
        title="Counts of patients",
        lead="Somebody plans a study and asks how this site's patients divide. What would leave are counts within the "
        "disclosure limits, or counts with noise; never of so few patients that they could be known, also not "
        "together with what was told before.",
        leaves=(
            Fact("Query", told.query_id),
            Fact("Cohort", short_digest(told.cohort), "the fingerprint the hub knows"),
            *band,
            Fact("Smallest count told", f"{told.minimum} patients", "unless noise was added"),
        ),
        grids=(Grid("Patients by value", ("Value", "Patients"), cells),) if cells else (),
        stays=("which patient has which value", "every image and its labels", "exact small counts"),
        yes="Release the counts",
        no="Keep them here",
        no_means="The hub is told the code policy-refuses-release, and nothing of the counts.",
    )


VERDICTS = {
    "accepted": "it is accepted",
    "kept-own": "it is worse here: the site goes on from its own",
    "vetoed": "it is vetoed: much worse here than the best one before",
}


def _update(told: RoundReport, background: Background) -> Statement:
    value = f"{metric_name(told.score.metric)} {score(told.score.value)}" if told.score.value is not None else "none"
    request = background.request
    leaves = [
        Fact("Study", told.study_id),
        Fact("Round", f"{told.round} of {request.plan.rounds}" if request else str(told.round)),
        Fact("Trained from", short_digest(told.base), "the hub's model of this round"),
        Fact("Cohort", short_digest(told.cohort), "the fingerprint the hub knows"),
        Fact("Validation score", value, f"of the incoming model, over {told.score.cases} cases, rounded"),
        Fact("Training took", seconds(told.train_seconds)),
    ]
    for name, beside in (("The site's personal model", told.personal), ("The model trained here alone", told.alone)):
        if beside is not None:
            scored = f"{metric_name(beside.metric)} {score(beside.value)}" if beside.value is not None else "none"
            leaves.append(Fact(name, scored, "its score only, rounded; the model stays"))
    if told.verdict is not None:
        leaves.append(Fact("What this site makes of the incoming model", VERDICTS[told.verdict]))
    if told.exchange is not None:
        heard = f"{len(told.exchange.heard)} of {told.exchange.shown} neighbours whose models it could open"
        leaves.append(Fact("Listened to", heard, ", ".join(told.exchange.heard) or "none of them"))
    if told.update is not None:
        there = "" if background.update_bytes is not None else "; the file is no longer here"
        content = "this site's whole model, encrypted for its neighbours; the hub cannot read it"
        if told.exchange is None:
            content = "the change of the model's weights, exactly the model's tensors and nothing else"
        leaves.append(
            Fact("File", f"{size(told.update.size)}: {short_digest(told.update.digest)}", f"{content}{there}")
        )
    return Statement(
        kind=KIND_NAMES["round-report"],
        title=f"Round {told.round} of {f'“{request.plan.title}”' if request else told.study_id}",
        lead=_lead(told),
        leaves=tuple(leaves),
        stays=("every image and its labels", "scores of single cases", "logs"),
        yes="Release the update" if told.update else "Release the score",
        no="Keep it here",
        no_means="The hub is told the code policy-refuses-release; the round goes on without this site.",
    )


def _lead(told: RoundReport) -> str:
    if told.update is None:
        return "This site validated the study's model. What would leave is one score."
    if told.exchange is not None:
        return (
            "This site trained its own model. What would leave is that model, which only its neighbours in the study "
            "can open, and one score."
        )
    return (
        "This site trained the study's model on its own training cases. What would leave is how the model's weights "
        "changed, and one score."
    )


def pretty_payload(item: Item) -> str:
    """Return the signed bytes, indented for reading."""
    return json.dumps(json.loads(item.envelope.payload_bytes()), indent=2, ensure_ascii=False)
