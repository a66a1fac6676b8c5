"""The OpenAPI 3.1 document, made from what the routes declare; an output, never a second truth."""

import re
from typing import Any, Literal

from flask import Blueprint, Flask, current_app
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from federation_hub.api import Operation
from silo_node import __version__
from silo_node.wire.errors import ProblemDocument
from silo_node.wire.versions import HEADER

blueprint = Blueprint("openapi", __name__)
_REFERENCE = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")


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
        "responses": _responses(operation),
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
    if operation.query is not None:
        properties = operation.query.model_json_schema()["properties"]
        found += [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done"}
    if operation.returns is not None:
        good["content"] = {"application/json": _of(operation.returns)}
    if operation.returns_bytes:
        good["content"] = {"application/octet-stream": {}}
    refused = {"description": "Refused", "content": {"application/problem+json": _of(ProblemDocument)}}
    found = {str(operation.status): good, "default": refused}
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
