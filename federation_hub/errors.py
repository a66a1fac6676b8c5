"""How a refusal or a fault leaves the hub: ``application/problem+json`` from the registry, and never an echo.

The body of a refused message may hold a patient's name, so no answer repeats a value or an undeclared field name,
and an unexpected fault tells its request id only; the operator finds the rest in the log under that id.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from flask import Flask, Response, g, request
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from werkzeug.exceptions import HTTPException

from silo_node.wire.errors import PROBLEMS, MedSiloError, ProblemDocument, WireError

MEDIA_TYPE = "application/problem+json"
UNDECLARED = "(undeclared)"
ERROR_PAGE = "medsilo.error_page"
"""Key of ``app.extensions``: ``(problem, request_id) -> Response`` for people who asked for a page."""

ErrorPage = Callable[[ProblemDocument, str], Response]
_BY_STATUS = {
    400: "body-not-json",
    401: "not-authenticated",
    403: "not-permitted",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "body-not-json",
    429: "rate-limited",
    503: "unavailable",
}
_RETRY_SECONDS = 5
_log = structlog.get_logger("federation_hub")


@dataclass
class MalformedMessage(WireError):
    """A message that is not as declared; ``fields`` names what is wrong by declared names only."""

    code: str = "malformed-message"
    fields: tuple[str, ...] = ()


def declared_fields(error: ValidationError, kind: type[BaseModel]) -> tuple[str, ...]:
    """Return where a message is wrong, in its class's own words; whatever the sender made up is ``(undeclared)``."""
    known = _names(kind.model_json_schema())
    found = {".".join(_part(part, known) for part in entry["loc"]) for entry in error.errors(include_input=False)}
    return tuple(sorted(found - {""}))[:20]


def declared_code(error: ValidationError) -> str:
    """Return the registered code a message's own rules refused it with, else ``malformed-message``."""
    kinds = (entry["type"] for entry in error.errors(include_input=False, include_context=False))
    return next((kind for kind in kinds if kind in PROBLEMS), "malformed-message")


def _names(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        names = set(schema.get("properties", {})) | set(schema.get("discriminator", {}).get("mapping", {}))
        return names.union(*(_names(value) for value in schema.values()))
    return set().union(*(_names(value) for value in schema)) if isinstance(schema, list) else set()


def _part(part: str | int, known: Iterable[str]) -> str:
    return part if isinstance(part, str) and part in known else str(part) if isinstance(part, int) else UNDECLARED


def problem(code: str, fields: tuple[str, ...] = ()) -> ProblemDocument:
    """Return the document of a registered code."""
    entry = PROBLEMS[code]
    return ProblemDocument(
        type=f"/problems/{code}", title=entry.title, status=entry.status, code=code, hint=entry.hint, fields=fields
    )


def request_id() -> str:
    """Return the id under which this request is found in the log."""
    return str(g.get("request_id", "-"))


def problem_response(document: ProblemDocument, app: Flask) -> Response:
    """Return a problem as JSON, or as a page for a browser outside the API."""
    page: ErrorPage | None = app.extensions.get(ERROR_PAGE)
    if page is not None and not request.path.startswith("/api/") and request.accept_mimetypes.accept_html:
        return page(document, request_id())
    response = Response(document.model_dump_json(), status=document.status, mimetype=MEDIA_TYPE)
    if document.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def register_error_handlers(app: Flask) -> None:
    """Turn every refusal and fault of the application into a problem document."""

    def refused(error: MedSiloError) -> Response:
        fields = error.fields if isinstance(error, MalformedMessage) else ()
        _log.info("refused", code=error.code, request_id=request_id())
        return problem_response(problem(error.code, fields), app)

    def http(error: HTTPException) -> Response | HTTPException:
        if error.code is not None and error.code < 400:
            return error
        return problem_response(problem(_BY_STATUS.get(error.code or 500, "internal-error")), app)

    def busy(error: OperationalError | NoConnection) -> Response:
        # Nothing was written, so the caller may ask again; a database that stays away fills the log.
        _log.error("database-unavailable", request_id=request_id(), exc_info=error)
        g.retry_after = _RETRY_SECONDS
        return problem_response(problem("unavailable"), app)

    def fault(error: Exception) -> Response:
        _log.error("fault", request_id=request_id(), exc_info=error)
        return problem_response(problem("internal-error"), app)

    app.register_error_handler(MedSiloError, refused)
    app.register_error_handler(HTTPException, http)
    app.register_error_handler(OperationalError, busy)
    app.register_error_handler(NoConnection, busy)
    app.register_error_handler(Exception, fault)
