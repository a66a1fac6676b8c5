"""Who gets through to a page: this machine's browser, under this console's name, signed in, with its own form."""

import secrets
from urllib.parse import quote

from flask import Flask, Response, g, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from silo_node.console.builds import LABELS_LIMIT
from silo_node.console.desk import desk
from silo_node.web.headers import HEADERS, SAFE_METHODS, content_security_policy, is_cross_site
from silo_node.wire.errors import MedSiloError

COOKIE = "silo_console"
OPEN_ENDPOINTS = frozenset({"static_files.asset", "static_files.favicon", "sign_in.form", "sign_in.enter"})
_FIELDS_LIMIT = 64 * 1024
_POLICY = content_security_policy(scripts=True)


def guard(app: Flask) -> None:
    """Put the checks before, and the headers behind, every page of an application."""
    app.before_request(_admit)
    app.after_request(_protect)


def _admit() -> AnyResponse | None:
    g.session = None
    # A page elsewhere may point its own name at 127.0.0.1 (DNS rebinding); it then comes with that name as the host.
    if request.host not in desk().hosts:
        raise MedSiloError("not-permitted", "open the console under the address it printed")
    headers = request.headers
    if is_cross_site(request.method, request.host, headers.get("Sec-Fetch-Site"), headers.get("Origin")):
        raise MedSiloError("not-permitted", "another site's page sent this form")
    by_itself = (request.endpoint or "").endswith(".live")
    g.session = desk().sessions.find(request.cookies.get(COOKIE), by_itself=by_itself)
    if request.endpoint in OPEN_ENDPOINTS:
        return None
    if g.session is None:
        return redirect(f"/sign-in?next={quote(request.path if request.method in SAFE_METHODS else '/')}", 303)
    if request.endpoint == "building.start":
        # The one form with a file; nobody but a signed-in person may send as much.
        request.max_content_length = LABELS_LIMIT + _FIELDS_LIMIT
    if request.method not in SAFE_METHODS and not _own_form():
        raise MedSiloError("console-form-stale")
    return None


def _own_form() -> bool:
    return secrets.compare_digest(request.form.get("form_token", "").encode(), g.session.form_token.encode())


def _protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = _POLICY
    for name, value in HEADERS.items():
        response.headers[name] = value
    # What is shown here is nobody's but the signed-in person's, also not the browser's cache's.
    response.headers.setdefault("Cache-Control", "no-store")
    return response
