"""The style sheet, the icon and the one script."""

from pathlib import Path

from flask import Blueprint, Response, abort, redirect
from werkzeug.wrappers import Response as AnyResponse

from silo_node.web.assets import SHARED, Assets

ASSETS = Assets((SHARED, Path(__file__).parents[1] / "static"))
blueprint = Blueprint("static_files", __name__)


@blueprint.get("/assets/<tag>/<name>")
def asset(tag: str, name: str) -> Response:
    """Serve a static file."""
    found = ASSETS.find(tag, name)
    if found is None:
        abort(404)
    file, cached = found
    response = Response(file.content, mimetype=file.media_type)
    response.headers["Cache-Control"] = cached
    return response


@blueprint.get("/favicon.ico")
def favicon() -> AnyResponse:
    """Lead old browsers to the icon."""
    return redirect(ASSETS.address("favicon.svg"), 302)
