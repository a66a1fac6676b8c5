"""The console's application: one factory, one module a page, the guard before all of them."""

import logging
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from flask import Flask, Request, Response, g, make_response, render_template, request
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from silo_node import __version__
from silo_node.console import words
from silo_node.console.desk import EXTENSION, Desk, desk
from silo_node.console.guard import guard
from silo_node.console.pages import (
    approvals,
    building,
    cohorts,
    departures,
    health,
    home,
    policy,
    sign_in,
    static_files,
    studies,
    work,
)
from silo_node.identity import load_enrolment
from silo_node.outbox.box import Outbox
from silo_node.web import formats
from silo_node.wire.errors import PROBLEMS, MedSiloError

PAGES = (static_files, sign_in, home, approvals, work, building, cohorts, studies, departures, policy, health)
_LARGEST_FORM = 64 * 1024
_LOG = logging.getLogger("silo_node.console")


class _InMemory(Request):
    """A file that comes with a form may name patients: it is never put into a temporary file."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return BytesIO()


def create_app(console: Desk) -> Flask:
    """Return the WSGI application of one console."""
    app = Flask("silo_node.console", static_folder=None, template_folder=str(Path(__file__).with_name("templates")))
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_FORM
    app.request_class = _InMemory
    app.extensions[EXTENSION] = console
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters |= {
        "minute": formats.minute,
        "size": formats.size,
        "short_digest": formats.short_digest,
        "departure": words.departure,
        "reason": words.reason,
        "moment": words.moment,
    }
    app.jinja_env.globals["asset"] = static_files.ASSETS.address
    app.context_processor(_frame)
    guard(app)
    for page in PAGES:
        app.register_blueprint(page.blueprint)
    app.register_error_handler(MedSiloError, _refused)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _fault)
    return app


def _frame() -> dict[str, Any]:
    """Return what the frame of every page tells: whose console it is, and how much waits."""
    session = g.get("session")
    held = 0
    if session is not None and desk().home.journal.exists():
        with desk().journal() as journal:
            held = len(Outbox(journal).items("held"))
    return {
        "session": session,
        "site": _site_name(),
        "provenance": _provenance(),
        "held": held,
        "version": __version__,
        "path": request.path,
        "now": datetime.now(UTC),
        "ago": lambda then: words.ago(then, datetime.now(UTC)),
    }


def _site_name() -> str:
    try:
        return load_enrolment(desk().home).silo_name
    except MedSiloError:
        return "Silo"


def _provenance() -> tuple[str, str] | None:
    """Return what is said on every page of a site without clinical data."""
    try:
        return formats.PROVENANCE_NOTICES.get(desk().config.provenance)
    except MedSiloError:
        return None


def _refused(error: MedSiloError) -> Response:
    return _error_page(error.code, error.detail)


def _http(error: HTTPException) -> Response:
    return _error_page({404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}.get(error.code or 0, ""))


def _fault(error: Exception) -> Response:
    _LOG.error("a page failed", exc_info=error)
    return _error_page("work-failed", "see the console's log")


def _error_page(code: str, detail: str = "") -> Response:
    code = code or "not-found"
    problem = PROBLEMS[code]
    return make_response(render_template("error.html", code=code, problem=problem, detail=detail), problem.status)
