"""The OpenAPI 3.1 document, made from what the routes declare; an output, never a second truth."""

import re
from typing import Any, Literal

from flask import Blueprint, Flask, current_app
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from federation_hub.api import Operation
from federation_hub.idempotency import KEY_HEADER, KEY_PATTERN
from silo_node import __version__
from silo_node.wire.errors import ProblemDocument
from silo_node.wire.versions import HEADER

blueprint = Blueprint("openapi", __name__)
_REFERENCE = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")

_MEANINGS = {
    400: "The body is not a JSON object",
    401: "No valid token",
    403: "The role, or the browser's origin, does not allow it",
    404: "There is nothing, or nothing for the one who asks",
    409: "The present state does not allow it",
    413: "The body is too large",
    416: "The part asked for is not there",
    422: "The message is not as declared, or what it says does not hold",
    426: "No common wire version",
    429: "Too many requests",
    500: "The hub failed",
    502: "Somebody else's answer does not hold",
    503: "The hub is not ready",
    507: "There is no room",
}
_KEY_PARAMETER: dict[str, Any] = {
    "name": KEY_HEADER,
    "in": "header",
    "required": False,
    "description": "A request repeated within a day with the same key is done once and answered the same.",
    "schema": {"type": "string", "pattern": KEY_PATTERN},
}


@blueprint.get("/openapi.json")
def openapi() -> dict[str, Any]:
    """Return the document of every JSON route."""
    return document(current_app)


def document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of an application, in a fixed order."""
    operations = sorted(_operations(app), key=lambda entry: (entry[0], entry[2].method))
    schemas = _schemas([operation for _, _, operation in operations])
    paths: dict[str, Any] = {}
    for path, view, operation in operations:
        written = _PARAMETER.sub(r"{\2}", path)
        paths.setdefault(written, {})[operation.method.lower()] = _operation(path, view, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MedSilo hub",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": _refusal_responses(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "mss_ of a silo, msp_ of a person"}
            },
        },
    }


def _operations(app: Flask) -> list[tuple[str, Any, Operation]]:
    found = []
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operation: Operation | None = getattr(view, "operation", None)
        if operation is not None:
            found.append((rule.rule, view, operation))
    return found


def _operation(path: str, view: Any, operation: Operation) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "operationId": view.__name__,
        "summary": (view.__doc__ or "").strip().splitlines()[0],
        "parameters": _parameters(path, operation),
        "responses": _responses(path, operation),
    }
    if operation.body is not None:
        parts["requestBody"] = {"required": True, "content": {"application/json": _of(operation.body)}}
    if operation.form is not None:
        parts["requestBody"] = {"required": True, "content": {"application/x-www-form-urlencoded": _of(operation.form)}}
    if operation.sends_bytes:
        parts["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    if operation.roles is not None:
        parts["security"] = [{"token": sorted(operation.roles)}]
    return {name: value for name, value in parts.items() if value}


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer" if kind == "int" else "string"}}
        for kind, name in _PARAMETER.findall(path)
    ]
    if operation.roles is not None and "silo" in operation.roles:
        found.append({"name": HEADER, "in": "header", "required": False, "schema": {"type": "integer"}})
    if operation.conditional:
        found.append({"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}})
    if operation.repeatable:
        found.append(_KEY_PARAMETER)
    if operation.query is not None:
        properties = operation.query.model_json_schema()["properties"]
        found += [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]
    return found


def refusals(operation: Operation, *, has_parameters: bool) -> list[int]:
    """Return every status with which an operation may be refused; nothing else than these and the good one is sent."""
    found = {429, 500, 503}
    if operation.roles is not None:
        found |= {401, 403}
        if "silo" in operation.roles:
            found |= {426}
    if operation.body is not None:
        found |= {400, 413, 422}
    if operation.body is not None and operation.roles is None:
        # Whoever is not known yet says which versions it speaks in the message itself.
        found |= {426}
    if operation.query is not None or has_parameters:
        found |= {422}
    if has_parameters:
        found |= {404}
    if operation.form is not None:
        found |= {413}
    if operation.method != "GET" and (operation.roles is not None or operation.body is not None):
        found |= {403, 404, 409, 422, 502, 507}
    if operation.method != "GET":
        found |= {403}
    if operation.returns_bytes:
        found |= {404, 416}
    if operation.sends_bytes:
        found |= {400, 413}
    return sorted(found)


def _refusal_responses() -> dict[str, Any]:
    content = {"application/problem+json": _of(ProblemDocument)}
    return {
        str(status): {"description": _MEANINGS[status], "content": content, **_headers(status)} for status in _MEANINGS
    }


def _headers(status: int) -> dict[str, Any]:
    if status != 429:
        return {}
    text = "Seconds after which to come again"
    return {"headers": {"Retry-After": {"description": text, "schema": {"type": "integer"}}}}


def _responses(path: str, operation: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done"}
    if operation.returns is not None:
        good["content"] = {"application/json": _of(operation.returns)}
    if operation.returns_bytes:
        good["content"] = {operation.media_type: {}}
    found: dict[str, Any] = {str(operation.status): good}
    if operation.conditional:
        found["304"] = {"description": "Not changed since the ETag in If-None-Match"}
    if operation.returns_bytes:
        found |= {"206": {**good, "description": "The part the Range header asks for"}}
        found |= {"304": {"description": "Not changed since the ETag in If-None-Match"}}
    for status in refusals(operation, has_parameters="<" in path):
        found[str(status)] = {"$ref": f"#/components/responses/{status}"}
    if operation.refusal is not None:
        found["400"] = {"description": "Refused", "content": {"application/json": _of(operation.refusal)}}
    return found


def _of(kind: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": _REFERENCE.format(model=kind.__name__)}}


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    kinds: set[type[BaseModel]] = {ProblemDocument}
    for entry in operations:
        kinds.update(kind for kind in (entry.body, entry.returns, entry.form, entry.refusal) if kind is not None)
    wanted: list[tuple[type[BaseModel], Literal["validation"]]] = [(kind, "validation") for kind in kinds]
    wanted.sort(key=lambda entry: entry[0].__name__)
    _, definitions = models_json_schema(wanted, ref_template=_REFERENCE)
    schemas: dict[str, Any] = definitions["$defs"]
    return dict(sorted(schemas.items()))
