"""The hub's static files: those every page of ours shares, and htmx as its authors publish it (``vendor.toml``)."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from flask import Response, abort

from silo_node.web.assets import SHARED, Assets

OWN = Path(__file__).with_name("static")
ASSETS = Assets((SHARED, OWN))


def address(name: str) -> str:
    """Return the address of a static file; it changes whenever the file does."""
    return ASSETS.address(name)


@cache
def integrity(name: str) -> str:
    """Return a file's digest as browsers check it (W3C Subresource Integrity)."""
    digest = hashlib.sha384(ASSETS.files[name].content).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


def serve(tag: str, name: str) -> Response:
    """Answer a request for a static file."""
    found = ASSETS.find(tag, name)
    if found is None:
        abort(404)
    asset, cached = found
    response = Response(asset.content, mimetype=asset.media_type)
    response.headers["Cache-Control"] = cached
    return response
