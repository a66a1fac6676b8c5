"""Where one is after signing in: what waits for a decision, and what became of one's own things."""

from collections.abc import Collection
from typing import Any

from flask import Blueprint, redirect
from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session, defer
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.browser import HOME, read_form, signed_in
from federation_hub.accounts.pages.forms import Decision
from federation_hub.api import current_actor
from federation_hub.associations.decisions import association_of_id, concerning, consent_of, decide
from federation_hub.associations.service import judge_decision
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.disputes import disputed_results
from federation_hub.evaluations.tables import EstimateBlockRow
from federation_hub.models.tables import Model
from federation_hub.paging import page as listed
from federation_hub.services import services
from federation_hub.silos.tables import Silo
from federation_hub.studies.tables import Study
from federation_hub.web.lists import asked_page
from federation_hub.web.rendering import page

MOST = 50
DECIDERS = frozenset({"benchmark-owner", "hub-admin", "researcher"})
blueprint = Blueprint("dashboard", __name__)


@signed_in(blueprint, "GET", HOME)
def dashboard() -> str:
    """Show what concerns the one who is signed in."""
    actor = current_actor()
    with services().database.reading() as session:
        results, earlier = _results(session, actor)
        return page(
            "account/dashboard.html",
            most=MOST,
            earlier=earlier,
            results=results,
            questions=_questions(session, actor),
            disputes=disputed_results(session, actor),
            models=_own(session, Model, actor),
            studies=_own(session, Study, actor),
            silos=_silos(session, actor),
        )


@signed_in(blueprint, "POST", "/dashboard/associations/<association_id>", roles=DECIDERS)
def decide_association(association_id: str) -> AnyResponse:
    """Say yes or no to what another side asked."""
    form = read_form(Decision)
    with services().database.session() as session:
        association = association_of_id(session, association_id)
        decide(session, association, approve=form.approve, actor=current_actor())
    return redirect(HOME, 303)


def _questions(session: Session, actor: Actor) -> list[dict[str, Any]]:
    """Return the requests this person may approve, the oldest first."""
    if not actor.may(DECIDERS):
        return []
    asked = session.scalars(
        concerning(actor).where(Association.state == "requested").order_by(Association.created).limit(500)
    )
    mine = [row for row in asked if judge_decision(consent_of(session, row), actor, approve=True) is None][:MOST]
    models = {one.digest: one for one in session.scalars(_of(Model.digest, [row.model_digest for row in mine]))}
    silos = {one.id: one for one in session.scalars(_of(Silo.id, [row.silo_id for row in mine]))}
    return [
        {
            "id": row.id,
            "kind": row.kind,
            "benchmark": session.get_one(Benchmark, row.benchmark_id),
            "model": models.get(row.model_digest or ""),
            "silo": silos.get(row.silo_id or ""),
            "created": row.created,
        }
        for row in mine
    ]


def _own(session: Session, table: type[Model] | type[Study], actor: Actor) -> list[Any]:
    own = table.owner_organisation_id == actor.organisation_id
    return list(session.scalars(select(table).where(own).order_by(table.created.desc()).limit(MOST)))


def _silos(session: Session, actor: Actor) -> list[Silo]:
    """Return the silos of a data steward's organisation, and of nobody else's."""
    if not actor.may(frozenset({"data-steward"})):
        return []
    own = Silo.organisation_id == actor.organisation_id
    return list(session.scalars(select(Silo).where(own).order_by(Silo.name).limit(MOST)))


def _results(session: Session, actor: Actor) -> tuple[list[tuple[EstimateBlockRow, Benchmark]], str | None]:
    """Return a page of what the silos of a data steward's organisation reported, the last first.

    Also where no public page tells of it.
    """
    if not actor.may(frozenset({"data-steward"})):
        return [], None
    own = select(Silo.id).where(Silo.organisation_id == actor.organisation_id)
    wanted = select(EstimateBlockRow).where(EstimateBlockRow.silo_id.in_(own))
    wanted = wanted.options(defer(EstimateBlockRow.block), defer(EstimateBlockRow.envelope))
    keys = (EstimateBlockRow.received, EstimateBlockRow.digest)
    found = listed(session, wanted, asked_page(MOST), *keys, newest_first=True)
    asked = _of(Benchmark.id, [row.benchmark_id for row in found.rows])
    benchmarks = {one.id: one for one in session.scalars(asked)}
    return [(row, benchmarks[row.benchmark_id]) for row in found.rows], found.next


def _of(key: InstrumentedAttribute[str], wanted: Collection[str | None]) -> Select[Any]:
    """Select the rows whose key is one of these."""
    return select(key.class_).where(key.in_({one for one in wanted if one is not None}))
