"""Static files under addresses that hold a digest of their content, so that they may be cached for ever."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import Response, abort

from silo_node.wire.digests import digest_bytes, hex_part

FOLDER = Path(__file__).with_name("static")
MEDIA_TYPES = {".css": "text/css", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file in memory; ``tag`` is the short digest that stands in its address."""

    tag: str
    media_type: str
    content: bytes


@cache
def assets() -> dict[str, Asset]:
    """Return every static file by its name. They are few and small."""
    files = [path for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES]
    return {path.name: _asset(path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in files}


def _asset(content: bytes, media_type: str) -> Asset:
    return Asset(hex_part(digest_bytes(content))[:12], media_type, content)


def address(name: str) -> str:
    """Return the address of a static file; it changes whenever the file does."""
    return f"/assets/{assets()[name].tag}/{name}"


def serve(tag: str, name: str) -> Response:
    """Answer a request for a static file: for ever under its present digest, for now under an older one."""
    found = assets().get(name)
    if found is None:
        abort(404)
    response = Response(found.content, mimetype=found.media_type)
    response.headers["Cache-Control"] = _FOREVER if tag == found.tag else "no-cache"
    return response
