"""A result in the browser for those it concerns: what is wrong with it, and what the benchmark's owner decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from flask import Blueprint, redirect
from pydantic import field_validator
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.browser import read_form, signed_in
from federation_hub.accounts.pages.forms import Form
from federation_hub.accounts.tables import Organisation
from federation_hub.api import current_actor
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.service import kept_back
from federation_hub.evaluations.disputes import concerned, dispute, owns, settle
from federation_hub.evaluations.messages import Because, DisputeReason, Settlement
from federation_hub.evaluations.rules import BLOCK
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.upkeep import changing_boards
from federation_hub.models.tables import Model
from federation_hub.services import services
from federation_hub.web.rendering import link, page

blueprint = Blueprint("dispute_pages", __name__)
OWNERS = frozenset({"benchmark-owner", "hub-admin"})
REASONS: tuple[str, ...] = get_args(DisputeReason)
SENTENCES: Mapping[str | None, str] = {
    None: "The hospital has not answered, so that there is nothing to dispute.",
    "accepted": "It counts on the leaderboard.",
    "disputed": "It is disputed and counts on no leaderboard until the benchmark's owner has decided.",
    "withdrawn": "It was withdrawn after a dispute and counts on no leaderboard.",
    "superseded": "A later result of this hospital took its place.",
}


class DisputeForm(Form):
    """Why a result should not stand."""

    reason: DisputeReason


class SettlementForm(Form):
    """Whether a disputed result stands after all, and why; if not, for which reason."""

    uphold: bool
    reason: DisputeReason | None = None
    because: Because | None = None

    @field_validator("reason", "because", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Everything the page of a result shows to one it concerns. It never holds a score."""

    title: str
    provenance: str
    site: str
    models: tuple[str, ...]
    attempt: int
    sentence: str
    reason: str | None
    disputed_by: str | None
    decision: str | None
    path: str
    public_path: str | None
    board_path: str
    matrix_path: str | None
    may_dispute: bool
    may_settle: bool
    may_uphold: bool
    """Whoever disputed a result may withdraw it, but not let it stand."""


@signed_in(blueprint, "GET", "/account/evaluations/<evaluation_id>")
def result(evaluation_id: str) -> str:
    """Show a hospital's result to its hospital, the owner of a model in it and the benchmark's owner."""
    actor = current_actor()
    with services().database.reading() as session:
        evaluation, benchmark = concerned(session, evaluation_id, actor)
        view = _view(session, evaluation, benchmark, actor)
    return page("owner/result.html", result=view, reasons=REASONS)


@signed_in(blueprint, "POST", "/account/evaluations/<evaluation_id>/dispute")
def dispute_result(evaluation_id: str) -> AnyResponse:
    """Dispute a result: it leaves the board until the benchmark's owner has decided."""
    form, hub = read_form(DisputeForm), services()
    with changing_boards(hub) as session:
        row = dispute(session, evaluation_id, form.reason, current_actor())
        outdate(session, [session.get_one(Benchmark, row.benchmark_id)])
    return redirect(link("account", "evaluations", evaluation_id), 303)


@signed_in(blueprint, "POST", "/account/evaluations/<evaluation_id>/settlement", roles=OWNERS)
def settle_dispute(evaluation_id: str) -> AnyResponse:
    """Let a disputed result stand again, or withdraw it for good."""
    form, hub = read_form(SettlementForm), services()
    decision = Settlement(uphold=form.uphold, reason=form.reason, because=form.because)
    with changing_boards(hub) as session:
        row = settle(session, evaluation_id, decision, current_actor())
        outdate(session, [session.get_one(Benchmark, row.benchmark_id)])
    return redirect(link("account", "evaluations", evaluation_id), 303)


def _view(session: Session, evaluation: Evaluation, benchmark: Benchmark, actor: Actor) -> ResultPage:
    row = session.scalar(select(EstimateBlockRow).where(EstimateBlockRow.evaluation_id == evaluation.id))
    site = sites_of_benchmark(session, benchmark.name)[evaluation.silo_id]
    owner, state = owns(benchmark, actor), row.state if row is not None else None
    matrix = link("account", "benchmarks", benchmark.name, benchmark.version)
    return ResultPage(
        title=f"{benchmark.definition['title']}, version {benchmark.version}",
        provenance=benchmark.definition["provenance"],
        site=site.label,
        models=_models(session, evaluation, benchmark, actor),
        attempt=evaluation.attempt,
        sentence=SENTENCES[state],
        reason=row.reason if row is not None else None,
        disputed_by=_organisation(session, row.disputed_organisation_id if row is not None else None),
        decision=row.decision if row is not None else None,
        path=link("account", "evaluations", evaluation.id),
        public_path=link("evaluations", evaluation.id) if site.shown else None,
        board_path=link("benchmarks", benchmark.name, benchmark.version, "leaderboard"),
        matrix_path=f"{matrix}#again" if owner else None,
        may_dispute=state is not None and BLOCK.allows(state, "dispute"),
        may_settle=owner and state is not None and BLOCK.allows(state, "uphold"),
        may_uphold=row is not None and row.disputed_by != actor.id,
    )


def _models(session: Session, evaluation: Evaluation, benchmark: Benchmark, actor: Actor) -> tuple[str, ...]:
    """Return the names of the models a person may know of, in the order of the result."""
    found: dict[str, Any] = {
        row.digest: row for row in session.scalars(select(Model).where(Model.digest.in_(evaluation.models)))
    }
    hidden = frozenset() if owns(benchmark, actor) else kept_back(session, benchmark)
    own = {digest for digest, row in found.items() if row.owner_organisation_id == actor.organisation_id}
    return tuple(found[digest].card["name"] for digest in evaluation.models if digest not in hidden or digest in own)


def _organisation(session: Session, organisation_id: str | None) -> str | None:
    found = session.get(Organisation, organisation_id) if organisation_id else None
    return found.name if found else None
