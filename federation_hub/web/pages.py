"""All pages of the hub under one blueprint: those of the domains, the methods, the status, and static files."""

from flask import Blueprint, Response, make_response, redirect
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts import pages as account_pages
from federation_hub.benchmarks import pages as benchmark_pages
from federation_hub.benchmarks import version_pages
from federation_hub.entries import pages as entry_pages
from federation_hub.errors import ERROR_PAGE
from federation_hub.evaluations import dispute_pages, owner_pages, site_pages
from federation_hub.evaluations import pages as evaluation_pages
from federation_hub.leaderboards import compare_pages
from federation_hub.leaderboards import pages as leaderboard_pages
from federation_hub.models import badge_pages
from federation_hub.models import pages as model_pages
from federation_hub.studies import claim_pages
from federation_hub.studies import pages as study_pages
from federation_hub.web import assets, news, status_pages, verify_pages
from federation_hub.web.methods import chapters, quantities
from federation_hub.web.rendering import page, prepare
from silo_node.wire.errors import ProblemDocument

blueprint = Blueprint("pages", __name__, template_folder="templates")


def error_page(problem: ProblemDocument, request_id: str) -> Response:
    """Return a refusal as a page, for people."""
    return make_response(page("error.html", problem=problem, request_id=request_id), problem.status)


prepare(blueprint)
blueprint.record(lambda setup: setup.app.extensions.update({ERROR_PAGE: error_page}))
for domain in (
    benchmark_pages,
    version_pages,
    leaderboard_pages,
    compare_pages,
    site_pages,
    model_pages,
    study_pages,
    claim_pages,
    badge_pages,
    evaluation_pages,
    news,
    verify_pages,
    status_pages,
    account_pages,
    entry_pages,
    owner_pages,
    dispute_pages,
):
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
    return page("methods.html", chapters=chapters(), quantities=quantities())
