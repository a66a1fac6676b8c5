"""All pages of the hub under one blueprint: those of the domains, the methods, the status, and static files."""

from flask import Blueprint, Response, make_response, redirect
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.benchmarks import pages as benchmark_pages
from federation_hub.errors import ERROR_PAGE
from federation_hub.evaluations import pages as evaluation_pages
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation
from federation_hub.leaderboards import pages as leaderboard_pages
from federation_hub.models import pages as model_pages
from federation_hub.models.tables import Model
from federation_hub.services import services
from federation_hub.silos.tables import Silo
from federation_hub.studies import claim_pages
from federation_hub.studies import pages as study_pages
from federation_hub.studies.tables import Study
from federation_hub.web import assets
from federation_hub.web.methods import chapters
from federation_hub.web.rendering import page, prepare
from federation_hub.web.words import plural
from silo_node.wire.errors import ProblemDocument

blueprint = Blueprint("pages", __name__, template_folder="templates")


def error_page(problem: ProblemDocument, request_id: str) -> Response:
    """Return a refusal as a page, for people."""
    return make_response(page("error.html", problem=problem, request_id=request_id), problem.status)


prepare(blueprint)
blueprint.record(lambda setup: setup.app.extensions.update({ERROR_PAGE: error_page}))
for domain in (benchmark_pages, leaderboard_pages, model_pages, study_pages, claim_pages, evaluation_pages):
    blueprint.register_blueprint(domain.blueprint)


@blueprint.get("/assets/<tag>/<name>")
def asset(tag: str, name: str) -> Response:
    """Serve a static file."""
    return assets.serve(tag, name)


@blueprint.get("/favicon.ico")
def favicon() -> AnyResponse:
    """Lead old browsers to the icon."""
    return redirect(assets.address("favicon.svg"), 302)


@blueprint.get("/methods")
def methods() -> str:
    """Explain the statistics in the words of the code that computes them."""
    return page("methods.html", chapters=chapters())


@blueprint.get("/status")
def status() -> str:
    """Tell whether the hub works and how large the federation is."""
    with services().database.reading() as session:
        facts = _facts(session)
    return page("status.html", status={"sentence": "The hub is up and its database answers.", "facts": facts})


def _facts(session: Session) -> tuple[tuple[str, str], ...]:
    def count(table: type, *conditions: object) -> int:
        return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0  # type: ignore[arg-type]

    config = services().config
    return (
        ("Hospitals", f"{count(Silo, Silo.state == 'active')} active"),
        ("Models", f"{count(Model, Model.state == 'accepted')} accepted"),
        ("Evaluations", f"{count(Evaluation, Evaluation.state == 'open')} under way"),
        ("Results", plural(count(EstimateBlockRow, EstimateBlockRow.state == "accepted"), "signed block")),
        (
            "Studies",
            f"{count(Study, Study.state == 'running')} running, {count(Study, Study.state == 'completed')} done",
        ),
        ("Signing key", services().public_key),
        ("Mode", "development" if config.development else "normal"),
    )
