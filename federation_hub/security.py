"""Every request's id, every answer's headers, and no write that a browser says another site makes."""

import secrets
import time

import structlog
from flask import Flask, Response, g, request

from federation_hub.metrics import install, meter
from federation_hub.services import services
from federation_hub.web.headers import protect
from silo_node.web.headers import is_cross_site
from silo_node.wire.errors import MedSiloError

_log = structlog.get_logger("federation_hub")


def secure(app: Flask) -> None:
    """Give every request an id, refuse cross-site writes, and put the headers on every answer."""

    def begin() -> None:
        g.request_id, g.started = secrets.token_hex(8), time.perf_counter()
        headers = request.headers
        if is_cross_site(request.method, request.host, headers.get("Sec-Fetch-Site"), headers.get("Origin")):
            raise MedSiloError("not-permitted")

    def finish(response: Response) -> Response:
        protect(response, over_https=request.is_secure or (services().config.public_url or "").startswith("https://"))
        meter().answered(request.method, str(request.url_rule), response.status_code, time.perf_counter() - g.started)
        if request.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Request-Id"] = g.request_id
        _log.debug(
            "request",
            method=request.method,
            # The rule, never the path: a mistyped path may hold anything.
            rule=str(request.url_rule),
            status=response.status_code,
            seconds=round(time.perf_counter() - g.started, 4),
            request_id=g.request_id,
        )
        return response

    install(app)
    app.before_request(begin)
    app.after_request(finish)
