"""Pages of studies: what was agreed, how each round went, who took part, and what became of the model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, Response
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.leaderboards.labels import PublicSite
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.leaderboards.verdict import Answer
from federation_hub.models.tables import Model
from federation_hub.paging import page as listed
from federation_hub.services import services
from federation_hub.silos.tables import Silo
from federation_hub.stored import read_stored
from federation_hub.studies.course import keeps_best
from federation_hub.studies.plan_words import Facts, facts, protection
from federation_hub.studies.progress import (
    RefusedUpdate,
    RoundRow,
    Scores,
    SiteBeside,
    curve_lines,
    levels_sent,
    marked_updates,
    public_scores,
    refused_updates,
    round_rows,
    sites_beside,
)
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from federation_hub.studies.view import committed_rounds
from federation_hub.web.charts import round_curve
from federation_hub.web.data_tables import DataTable, answer
from federation_hub.web.lineage import Step
from federation_hub.web.lists import asked_page
from federation_hub.web.rendering import link, page
from federation_hub.web.structured import script, study_project
from federation_hub.web.words import joined, plural, reason
from silo_node.web.formats import day, metric_name, score
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import MedSiloError
from silo_node.wire.protection import Answer as Protection
from silo_node.wire.studies import StudyPlan

blueprint = Blueprint("study_pages", __name__)
STATES = {
    "draft": "being written",
    "recruiting": "asking the sites",
    "running": "running",
    "paused": "paused",
    "completed": "completed",
    "failed": "failed",
    "stopped": "stopped",
}
ANSWERS = {
    "requested": "asked, no answer yet",
    "approved": "takes part",
    "declined": "declined",
    "ended": "has left",
}
ROUNDS_SHOWN, SITES_SHOWN, PARTICIPANTS_SHOWN, POINTS_DRAWN = 50, 12, 200, 100
"""What a page shows of a study of thousands of rounds or sites; its tables as data have all."""


@dataclass(frozen=True, slots=True)
class StudyCard:
    """A study in the list."""

    id: str
    title: str
    eyebrow: str
    sentence: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Participant:
    """A site that was asked."""

    name: str
    answer: str
    rounds: int
    sent_as: str
    """The compression levels of its updates that counted."""


@dataclass(frozen=True, slots=True)
class StudyPage:
    """Everything a study's page shows."""

    title: str
    eyebrow: str
    sentence: str
    provenance: str
    metric: str
    answers: tuple[Answer, ...]
    lineage: tuple[Step, ...]
    curve: Markup | None
    sites: tuple[str, ...]
    rounds: tuple[RoundRow, ...]
    refused: tuple[RefusedUpdate, ...]
    marked: tuple[RefusedUpdate, ...]
    beside: tuple[SiteBeside, ...]
    baseline: str | None
    """The path of the study it is compared with."""

    participants: tuple[Participant, ...]
    protection: tuple[Protection, ...]
    facts: Facts
    path: str
    live: bool
    """Something may still change, so the page looks again by itself."""

    structured: Markup


@blueprint.get("/studies")
def studies() -> str:
    """List the studies, the newest first; drafts are nobody's business but their owner's."""
    with services().database.reading() as session:
        begun = select(Study).where(Study.state != "draft")
        found = listed(session, begun, asked_page(), Study.created, Study.id, newest_first=True)
        counts = committed_rounds(session, [row.id for row in found.rows])
        benchmarks = _benchmarks(session, found.rows)
        cards = [_card(study, benchmarks[study.benchmark_id], counts.get(study.id, 0)) for study in found.rows]
    return page("studies.html", studies=cards, next=found.next)


@blueprint.get("/studies/<study_id>")
def study(study_id: str) -> str:
    """Show one study."""
    with services().database.reading() as session:
        most = {"rounds": ROUNDS_SHOWN, "sites": SITES_SHOWN, "participants": PARTICIPANTS_SHOWN}
        return page("study.html", study=_found(session, study_id), most=most)


@blueprint.get("/studies/<study_id>/<table>.<any(csv, json):form>")
def study_table(study_id: str, table: str, form: str) -> Response:
    """Return one of a study's tables as data."""
    with services().database.reading() as session:
        return answer(study_tables(_found(session, study_id)), table, form)


def _found(session: Session, study_id: str) -> StudyPage:
    study = session.get(Study, study_id)
    if study is None or study.state == "draft":
        raise MedSiloError("study-unknown")
    return _page(session, study)


def study_tables(view: StudyPage) -> tuple[DataTable, ...]:
    """Return the rounds, the updates that were not counted or stand out, and who takes part."""
    scored = view.curve is not None
    columns = ("round", "state", "counted", "not_counted", *(view.sites if scored else ()), "mean")
    rounds = tuple(
        (row.label, row.state, row.counted, row.not_counted, *(row.values if scored else ()), row.mean)
        for row in view.rounds
    )
    refused, marked = (
        tuple((update.round, update.site, update.code, update.reason) for update in rows)
        for rows in (view.refused, view.marked)
    )
    sites = tuple((site.name, site.answer, site.rounds, site.sent_as) for site in view.participants)
    return (
        DataTable("rounds", f"Rounds, with {view.metric} at each site", columns, rounds),
        DataTable("refused", "Updates that were not counted", ("round", "site", "code", "reason"), refused),
        DataTable("marked", "Updates that counted and stand out", ("round", "site", "code", "reason"), marked),
        DataTable(
            "beside",
            f"What each site gets, in {view.metric}",
            ("site", "global", "personal", "alone", "fedavg"),
            tuple((site.site, site.shared, site.personal, site.alone, site.fedavg) for site in view.beside),
        ),
        DataTable("sites", "Who takes part", ("site", "answer", "rounds_counted", "sent_as"), sites),
    )


def _benchmarks(session: Session, studies: Sequence[Study]) -> dict[str, Benchmark]:
    wanted = select(Benchmark).where(Benchmark.id.in_({study.benchmark_id for study in studies}))
    return {row.id: row for row in session.scalars(wanted)}


def _card(study: Study, benchmark: Benchmark, committed: int) -> StudyCard:
    plan = read_stored(StudyPlan, study.plan)
    return StudyCard(
        id=study.id,
        title=plan.title,
        eyebrow=f"{STATES.get(study.state, study.state)} · {day(study.created)}",
        sentence=f"{plural(len(plan.silos), 'hospital')} train one model for {benchmark.definition['title']}.",
        facts=(("Rounds", f"{committed} of {plan.rounds}"), ("Quorum", f"{plan.quorum} of {len(plan.silos)}")),
    )


def _page(session: Session, study: Study) -> StudyPage:
    plan = read_stored(StudyPlan, study.plan)
    benchmark = session.get_one(Benchmark, study.benchmark_id)
    definition = read_stored(BenchmarkDefinition, benchmark.definition)
    sites = _sites(session, plan, benchmark.name)
    shown = [silo for silo in plan.silos if sites[silo].shown]
    labels = {silo: site.label for silo, site in sites.items()}
    rounds = session.scalars(select(StudyRound).where(StudyRound.study_id == study.id)).all()
    updates = session.scalars(select(StudyUpdate).where(StudyUpdate.study_id == study.id)).all()
    fewest = definition.disclosure.minimum_sites
    scores = public_scores(updates, rounds, minimum_sites=fewest)
    rows = round_rows(rounds, updates, scores, labels, shown)
    metric = definition.primary.name
    return StudyPage(
        title=plan.title,
        eyebrow=f"Federated study · {STATES.get(study.state, study.state)} · {day(study.created)}",
        sentence=_sentence(study, plan, definition),
        provenance=definition.provenance,
        metric=metric,
        answers=_answers(rows, plan, updates, metric),
        lineage=_lineage(session, study, plan),
        curve=_curve(scores, labels, shown, metric) if scores else None,
        sites=tuple(labels[silo] for silo in shown),
        rounds=tuple(rows),
        refused=tuple(refused_updates(updates, labels)),
        marked=tuple(marked_updates(updates, labels)),
        beside=tuple(
            sites_beside(
                updates,
                rounds,
                chosen_round(study, plan, rows),
                labels,
                shown,
                minimum_sites=fewest,
                fedavg=_of_baseline(session, plan, fewest),
            )
        ),
        baseline=link("studies", plan.baseline) if plan.baseline else None,
        participants=tuple(_participants(session, study, plan, labels, updates)),
        protection=protection(plan, labels),
        facts=facts(study, plan, benchmark, labels),
        path=link("studies", study.id),
        live=study.state in ("recruiting", "running", "paused"),
        structured=script(study_project(study)),
    )


def _of_baseline(session: Session, plan: StudyPlan, minimum_sites: int) -> Mapping[str, float]:
    """Return each site's score of the baseline's model; nothing before there is one."""
    study = session.get(Study, plan.baseline) if plan.baseline else None
    if study is None:
        return {}
    rounds = session.scalars(select(StudyRound).where(StudyRound.study_id == study.id)).all()
    updates = session.scalars(select(StudyUpdate).where(StudyUpdate.study_id == study.id)).all()
    scores = public_scores(updates, rounds, minimum_sites=minimum_sites)
    rows = round_rows(rounds, updates, scores, {}, ())
    made = chosen_round(study, read_stored(StudyPlan, study.plan), rows)
    return {} if made is None else scores.get(made, {})


def _sites(session: Session, plan: StudyPlan, benchmark: str) -> dict[str, PublicSite]:
    """Return how the study's sites are named; one without a cohort of the benchmark yet is told by no letter."""
    known = sites_of_benchmark(session, benchmark)
    silos = {row.id: row for row in session.scalars(select(Silo).where(Silo.id.in_(plan.silos)))}
    return {
        silo: known.get(silo) or PublicSite(silo, _unlettered(silos.get(silo)), named=False, shown=False)
        for silo in plan.silos
    }


def _unlettered(silo: Silo | None) -> str:
    return silo.name if silo is not None and silo.publication == "named" else "a site without a cohort"


def _sentence(study: Study, plan: StudyPlan, definition: BenchmarkDefinition) -> str:
    text = (
        f"{plural(len(plan.silos), 'hospital')} train one model for {definition.title}, "
        f"{plural(plan.rounds, 'round')}, each counted once at least {plan.quorum} have answered."
    )
    return f"{text} It ended early: {reason(study.code)}." if study.code else text


def _answers(
    rows: Sequence[RoundRow], plan: StudyPlan, updates: Sequence[StudyUpdate], metric: str
) -> tuple[Answer, ...]:
    trained = sum(row.number > 0 and row.state == "committed" for row in rows)
    folded = sum(update.state == "folded" for update in updates)
    refused = sum(update.state in ("rejected", "late") for update in updates)
    scored = [row for row in rows if row.mean is not None]
    answers = [
        Answer("Rounds", f"{trained} of {plan.rounds}", ("rounds of training are committed.",), figure=True),
        Answer("Updates counted", str(folded), (_counted(refused),), figure=True),
    ]
    if scored:
        notes = (
            f"is the mean {metric_name(metric)} over the sites after {plural(scored[-1].number, 'round')}; "
            f"it was {score(scored[0].mean)} at the start.",
        )
        answers.append(Answer("Model now", score(scored[-1].mean), notes, figure=True))
    return tuple(answers)


def _counted(refused: int) -> str:
    once = "each once, with the weight of its registered cohort"
    others = f"; {plural(refused, 'other')} {'was' if refused == 1 else 'were'} not counted" if refused else ""
    return f"{once}{others}."


def _curve(scores: Scores, labels: Mapping[str, str], shown: Sequence[str], metric: str) -> Markup:
    every = sorted(scores)
    stride = -(-len(every) // POINTS_DRAWN)
    drawn = {place: scores[place] for place in {*every[::stride], every[-1]}}
    lines = curve_lines(drawn, labels, shown[:SITES_SHOWN])
    ends = [f"{line.label} {score(line.points[-1][1])}" for line in lines if line.points]
    return round_curve(
        lines,
        metric=metric_name(metric),
        title=f"{metric_name(metric)} over the rounds",
        description=f"At the end: {', '.join(ends)}. Every value stands in the table below.",
    )


def _lineage(session: Session, study: Study, plan: StudyPlan) -> tuple[Step, ...]:
    base = session.get_one(Model, study.model_digest)
    steps = [
        Step("started from", base.card["name"], link("models", base.digest)),
        Step("this study", plan.title, note=plural(plan.rounds, "round"), here=True),
    ]
    if study.final_model_digest is not None:
        final = session.get_one(Model, study.final_model_digest)
        steps.append(Step("made", final.card["name"], link("models", final.digest)))
    return tuple(steps)


def _participants(
    session: Session, study: Study, plan: StudyPlan, labels: Mapping[str, str], updates: Sequence[StudyUpdate]
) -> list[Participant]:
    asked = select(Association).where(Association.study_id == study.id)
    states = {row.silo_id: row.state for row in session.scalars(asked)}
    folded: dict[str, list[StudyUpdate]] = defaultdict(list)
    for update in updates:
        if update.state == "folded":
            folded[update.silo_id].append(update)
    return [
        Participant(
            name=labels[silo],
            answer=ANSWERS.get(states.get(silo, "requested"), "asked"),
            rounds=len({update.number for update in folded[silo]}),
            sent_as=joined(levels_sent(folded[silo], plan.compression.level)) or "–",
        )
        for silo in plan.silos
    ]


def chosen_round(study: Study, plan: StudyPlan, rows: Sequence[RoundRow]) -> int | None:
    """Return the round whose model is registered, or would be as things stand."""
    if keeps_best(plan) and study.best_round is not None:
        return study.best_round
    return max((row.number for row in rows if row.number > 0 and row.mean is not None), default=None)
