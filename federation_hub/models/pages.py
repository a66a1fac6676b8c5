"""The model card page: what a model is, where it comes from, and what was measured of it."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.tables import Organisation
from federation_hub.benchmarks.service import versions
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.service import hidden_models
from federation_hub.leaderboards.board import Badge, Board, Entry, Estimate
from federation_hub.leaderboards.exports import INTERVAL, interval
from federation_hub.leaderboards.kept import board_of
from federation_hub.leaderboards.service import latest
from federation_hub.leaderboards.view import board_axis
from federation_hub.models.listing import benchmarks_of
from federation_hub.models.tables import Model
from federation_hub.services import services
from federation_hub.studies.tables import Study
from federation_hub.web.axes import Axis
from federation_hub.web.charts import axis_plot, interval_plot
from federation_hub.web.data_tables import DataTable, answer
from federation_hub.web.lineage import Step
from federation_hub.web.rendering import link, page
from federation_hub.web.structured import absolute, model_work, script
from federation_hub.web.words import plural
from silo_node.web.formats import day, metric_name, score, size
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("model_pages", __name__)
Facts = tuple[tuple[str, str | Markup], ...]


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One line of a model's forest plot: a hospital, or all of them pooled."""

    label: str
    estimate: Estimate
    plot: Markup
    remark: str
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A model on one benchmark."""

    title: str
    href: str
    entry: Entry | None
    waiting: str = ""
    models: int = 0
    compare: str | None = None
    """Where it is compared with another, if the board is the one that stands."""

    metric: str = ""
    direction: str = ""
    axis: Markup | None = None
    rows: tuple[ForestRow, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelPage:
    """Everything a model's page shows."""

    name: str
    owner: str
    created: Any
    state: str
    description: str
    badges: tuple[Badge, ...]
    provenances: tuple[str, ...]
    lineage: tuple[Step, ...]
    lineage_sentence: str
    results: tuple[Result, ...]
    facts: Facts
    path: str
    badge_href: str
    badge_code: str
    structured: Markup


@blueprint.get("/models/<digest>")
def model(digest: str) -> str:
    """Show one model that has its place on a published benchmark."""
    with services().database.reading() as session:
        return page("model.html", model=_found(session, digest))


@blueprint.get("/models/<digest>/<table>.<any(csv, json):form>")
def model_table(digest: str, table: str, form: str) -> Response:
    """Return a model's results as data."""
    with services().database.reading() as session:
        view = _found(session, digest)
    rows = tuple(
        (result.href, result.metric, row.label, *interval(row.estimate), row.remark, row.pooled)
        for result in view.results
        for row in result.rows
    )
    columns = ("benchmark", "metric", "hospital", *INTERVAL, "remark", "pooled")
    return answer((DataTable("results", f"Results of {view.name}", columns, rows),), table, form)


def _found(session: Session, digest: str) -> ModelPage:
    found = session.get(Model, digest)
    benchmarks = benchmarks_of(session, digest)
    if found is None or found.state not in ("accepted", "withdrawn") or not benchmarks:
        raise MedSiloError("model-unknown")
    if found.digest in hidden_models(session):
        raise MedSiloError("model-unknown")
    return _page(session, found, benchmarks)


def _page(session: Session, model: Model, benchmarks: list[Benchmark]) -> ModelPage:
    owner = session.get_one(Organisation, model.owner_organisation_id).name
    study = _study(session, model)
    badges = [Badge("baseline")] if model.card.get("baseline") else []
    if study is not None:
        badges.append(Badge("federated study", link("studies", study.id)))
    return ModelPage(
        name=model.card["name"],
        owner=owner,
        created=model.created,
        state=model.state,
        description=model.card.get("description", ""),
        badges=tuple(badges),
        provenances=tuple(dict.fromkeys(benchmark.definition["provenance"] for benchmark in benchmarks)),
        lineage=_lineage(session, model, study),
        lineage_sentence=_sentence(model, study),
        results=tuple(_result(session, benchmark, model.digest) for benchmark in benchmarks),
        facts=_facts(model, owner),
        path=link("models", model.digest),
        badge_href=f"{link('badge', model.digest)}.svg",
        badge_code=_badge_code(model),
        structured=script(model_work(model, owner)),
    )


def _badge_code(model: Model) -> str:
    """Return what to put on another page to show the badge there."""
    page_address, picture = absolute(link("models", model.digest)), absolute(f"{link('badge', model.digest)}.svg")
    alternative = f"{model.card['name']} on a MedSilo leaderboard"
    return str(Markup('<a href="{}"><img src="{}" alt="{}"></a>').format(page_address, picture, alternative))


def _study(session: Session, model: Model) -> Study | None:
    return session.scalar(select(Study).where(Study.final_model_digest == model.digest))


def _lineage(session: Session, model: Model, study: Study | None) -> tuple[Step, ...]:
    steps: list[Step] = []
    if study is not None:
        base = session.get_one(Model, study.model_digest)
        steps.append(Step("started from", base.card["name"], link("models", base.digest)))
        steps.append(Step("trained in", study.plan["title"], link("studies", study.id)))
    children = session.scalars(select(Study).where(Study.model_digest == model.digest, Study.state != "draft")).all()
    if steps or children:
        steps.append(Step("this model", model.card["name"], here=True))
    steps += [Step("start of", child.plan["title"], link("studies", child.id)) for child in children]
    return tuple(steps)


def _sentence(model: Model, study: Study | None) -> str:
    if study is None:
        return "It was submitted as it is, and federated studies went on from it."
    hospitals = plural(len(study.plan["silos"]), "hospital")
    return f"It was trained by {hospitals} together; no image left any of them."


def _result(session: Session, benchmark: Benchmark, digest: str) -> Result:
    title, href = benchmark.definition["title"], link("benchmarks", benchmark.name, benchmark.version, "leaderboard")
    snapshot = latest(session, benchmark.name, benchmark.version)
    board = board_of(snapshot) if snapshot is not None else None
    entry = next((found for found in board.entries if found.digest == digest), None) if board else None
    if board is None or entry is None:
        return Result(title, href, None, "No hospital has reported on this model yet.")
    if not board.ranked:
        waiting = f"{plural(board.site_count, 'hospital')} of at least {board.minimum_sites} reported so far."
        return Result(title, href, None, waiting)
    axis = board_axis(board)
    return Result(
        title=title,
        href=href,
        entry=entry,
        models=len(board.entries),
        compare=_compare(session, benchmark, board, digest),
        metric=board.metric,
        direction=board.direction,
        axis=axis_plot(axis, better=board.direction, metric=metric_name(board.metric)),
        rows=tuple(_rows(board, entry, axis)),
    )


def _compare(session: Session, benchmark: Benchmark, board: Board, digest: str) -> str | None:
    if len(board.entries) < 2 or versions(session, benchmark.name)[-1].version != benchmark.version:
        return None
    return f"{link('benchmarks', benchmark.name, 'compare')}?a={digest}"


def _rows(board: Board, entry: Entry, axis: Axis) -> list[ForestRow]:
    rows = []
    for site in entry.sites:
        remarks = [word for word, said in (("weakest", site.worst), ("under the floor", site.under_floor)) if said]
        if site.estimate.value is None:
            remarks.append("not shown")
        rows.append(_row(board, axis, site.site, site.estimate, ", ".join(remarks)))
    expected = ""
    if entry.prediction is not None:
        expected = f"a new hospital: {score(entry.prediction[0])} to {score(entry.prediction[1])}"
    rows.append(_row(board, axis, "All hospitals", entry.estimate, expected, entry.prediction, pooled=True))
    return rows


def _row(
    board: Board,
    axis: Axis,
    label: str,
    estimate: Estimate,
    remark: str,
    prediction: tuple[float, float] | None = None,
    *,
    pooled: bool = False,
) -> ForestRow:
    plot = interval_plot(
        axis,
        estimate=estimate.value,
        interval=estimate.interval,
        prediction=prediction,
        floor=board.floor,
        better=board.direction,
        title=f"{metric_name(board.metric)}: {label}",
        description=f"{score(estimate.value)}, from {score(estimate.low)} to {score(estimate.high)}.",
    )
    return ForestRow(label, estimate, plot, remark, pooled)


def _facts(model: Model, owner: str) -> Facts:
    card, summary = model.card, model.summary or {}
    facts: list[tuple[str, str | Markup]] = [
        ("Owner", owner),
        ("Submitted", day(model.created)),
        ("Intended use", card.get("intended_use") or "not stated"),
        ("Training data", card.get("training_data") or "not stated"),
        ("Licence", card.get("licence") or "not stated"),
    ]
    if model.version_of is not None:
        facts.insert(1, ("Version", f"{model.version}"))
    if "network" in summary:
        facts.append(("Architecture", str(summary["network"])))
    if isinstance(summary.get("parameters"), int):
        facts.append(("Parameters", f"{summary['parameters']:,}"))
    facts.append(("Bundle", f"{size(model.size)}, without code: weights and a declared architecture"))
    facts.append(("Digest", Markup('<code class="digest">{}</code>').format(model.digest)))
    return tuple(facts)
