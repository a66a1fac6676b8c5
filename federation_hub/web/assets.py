"""The hub's static files."""

from flask import Response, abort

from silo_node.web.assets import SHARED, Assets

ASSETS = Assets((SHARED,))


def address(name: str) -> str:
    """Return the address of a static file; it changes whenever the file does."""
    return ASSETS.address(name)


def serve(tag: str, name: str) -> Response:
    """Answer a request for a static file."""
    found = ASSETS.find(tag, name)
    if found is None:
        abort(404)
    asset, cached = found
    response = Response(asset.content, mimetype=asset.media_type)
    response.headers["Cache-Control"] = cached
    return response
