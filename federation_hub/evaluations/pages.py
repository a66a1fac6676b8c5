"""The page of one evaluation: what a hospital computed, with what, and what it signed."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.service import kept_back
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.models.tables import Model
from federation_hub.services import services
from federation_hub.stored import read_stored
from federation_hub.web.data_tables import DataTable, answer
from federation_hub.web.rendering import link, page
from federation_hub.web.words import band, plural, reason
from silo_node.web.formats import MISSING, minute, seconds
from silo_node.wire.cohorts import count_band
from silo_node.wire.errors import MedSiloError
from silo_node.wire.estimates import EstimateBlock

blueprint = Blueprint("evaluation_pages", __name__)
Facts = tuple[tuple[str, str | Markup], ...]
SENTENCES = {
    "open": "The hospital has been asked and has not answered yet.",
    "cancelled": "It was replaced by a later evaluation before the hospital began.",
}

RESULTS = {"superseded": "superseded by a later result of this hospital"}
DISPUTED = {
    "disputed": "This result is disputed. It counts on no leaderboard until the benchmark's owner has decided.",
    "withdrawn": "This result was withdrawn after a dispute. It counts on no leaderboard.",
}


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """One model of the evaluation."""

    digest: str
    name: str
    failed: str
    seconds: str
    memory: str


@dataclass(frozen=True, slots=True)
class EvaluationPage:
    """Everything an evaluation's page shows. It never holds a score: those have their own gate, on the board."""

    title: str
    site: str
    provenance: str
    created: Any
    sentence: str
    board_href: str
    models: tuple[EvaluatedModel, ...]
    facts: Facts
    path: str
    dispute_path: str | None
    """Where those whom a result concerns say that it is wrong; None while there is none."""

    live: bool
    """It is under way, so the page looks again by itself."""


@blueprint.get("/evaluations/<evaluation_id>")
def evaluation(evaluation_id: str) -> str:
    """Show one evaluation; those at a site that publishes nothing have no page."""
    with services().database.reading() as session:
        return page("evaluation.html", evaluation=_found(session, evaluation_id))


@blueprint.get("/evaluations/<evaluation_id>/<table>.<any(csv, json):form>")
def evaluation_table(evaluation_id: str, table: str, form: str) -> Response:
    """Return the models of one evaluation as data."""
    with services().database.reading() as session:
        view = _found(session, evaluation_id)
    rows = tuple((row.digest, row.name, row.failed, row.seconds, row.memory) for row in view.models)
    columns = ("model", "name", "failed_predictions", "time_a_case", "peak_memory")
    return answer((DataTable("models", f"{view.title} at {view.site}", columns, rows),), table, form)


def _found(session: Session, evaluation_id: str) -> EvaluationPage:
    found = session.get(Evaluation, evaluation_id)
    if found is None:
        raise MedSiloError("not-found")
    benchmark = session.get_one(Benchmark, found.benchmark_id)
    site = sites_of_benchmark(session, benchmark.name).get(found.silo_id)
    if site is None or not site.shown:
        raise MedSiloError("not-found")
    return _page(session, found, benchmark, site.label)


def _page(session: Session, evaluation: Evaluation, benchmark: Benchmark, label: str) -> EvaluationPage:
    row = session.scalar(select(EstimateBlockRow).where(EstimateBlockRow.evaluation_id == evaluation.id))
    block = read_stored(EstimateBlock, row.block) if row is not None else None
    hidden = kept_back(session, benchmark)
    cards = {
        model.digest: model.card for model in session.scalars(select(Model).where(Model.digest.in_(evaluation.models)))
    }
    return EvaluationPage(
        title=benchmark.definition["title"],
        site=label,
        provenance=benchmark.definition["provenance"],
        created=evaluation.created,
        sentence=_sentence(evaluation, block, row.state if row is not None else ""),
        board_href=link("benchmarks", benchmark.name, benchmark.version, "leaderboard"),
        models=tuple(
            _model(digest, cards[digest]["name"], block, evaluation.refused)
            for digest in evaluation.models
            if digest not in hidden
        ),
        facts=_facts(evaluation, row, block),
        path=link("evaluations", evaluation.id),
        dispute_path=link("account", "evaluations", evaluation.id) if row is not None else None,
        live=evaluation.state == "open",
    )


def _sentence(evaluation: Evaluation, block: EstimateBlock | None, state: str) -> str:
    if block is None:
        told = SENTENCES.get(evaluation.state)
        return told or f"There is no result: {reason(evaluation.code)}."
    models = plural(len(block.models), "model")
    if state in DISPUTED:
        return DISPUTED[state]
    return f"{models} on {band(count_band(block.cases))} cases, all on the same ones, in one run."


def _model(digest: str, name: str, block: EstimateBlock | None, refused: dict[str, Any]) -> EvaluatedModel:
    if block is None or digest not in block.models:
        told = f"not run: {reason(refused[digest])}" if digest in refused else MISSING
        return EvaluatedModel(digest, name, told, MISSING, MISSING)
    place = block.models.index(digest)
    use = block.resources[place]
    return EvaluatedModel(
        digest=digest,
        name=name,
        failed=_failed(block.failed[place], block.limits.minimum_cell),
        seconds=f"{seconds(use.seconds_mean)} ± {seconds(use.seconds_sd)}",
        memory=f"{use.peak_memory_mb:,.0f} MB",
    )


def _failed(count: int, minimum: int) -> str:
    """Return a count of failures that tells nothing about few patients."""
    return "none" if count == 0 else f"fewer than {minimum}" if count < minimum else str(count)


def _facts(evaluation: Evaluation, row: EstimateBlockRow | None, block: EstimateBlock | None) -> Facts:
    again = f", asked again: {reason(evaluation.reason)}" if evaluation.reason else ""
    facts: list[tuple[str, str | Markup]] = [
        ("Asked", minute(evaluation.created)),
        ("Attempt", f"{evaluation.attempt}{again}"),
    ]
    if row is None or block is None:
        return tuple(facts)
    took = (block.finished - block.started).total_seconds()
    software = block.software
    return (
        *facts,
        ("Run", f"{minute(block.started)}, {seconds(took) if took else 'under a second'}"),
        ("Software", f"MedSilo {software.medsilo}, MONAI {software.monai}, PyTorch {software.torch}"),
        ("Received", minute(row.received)),
        ("State", RESULTS.get(row.state, row.state) + (f": {reason(row.reason)}" if row.reason else "")),
        ("Signature", "Ed25519 over the exact bytes, by the key that was compared at enrolment"),
        ("Cohort", Markup('<code class="digest">{}</code>').format(block.cohort)),
        ("Signed bytes", Markup('<code class="digest">{}</code>').format(row.digest)),
    )
