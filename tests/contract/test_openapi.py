"""The OpenAPI document: served as committed, complete, and true of the application."""

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from federation_hub.cli.reference import whole_document
from silo_node.wire.errors import PROBLEMS

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "reference" / "openapi.json"
CALLERS = {"silo", "reader", "researcher", "benchmark-owner", "data-steward", "hub-admin"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document of this checkout."""
    return whole_document()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return every operation with its method and path."""
    return [(method, path, entry) for path, found in document["paths"].items() for method, entry in found.items()]


def test_the_committed_copy_is_the_document(document: dict[str, Any]) -> None:
    """A change of the API is seen in review: federation-hub openapi --out docs/reference/openapi.json."""
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == document


def test_the_hub_serves_it(client: FlaskClient, document: dict[str, Any]) -> None:
    """Clients find the document of the hub they talk to, without a token."""
    assert client.get("/api/v1/openapi.json").get_json() == document


def test_every_route_of_the_api_is_in_it(app: Flask, document: dict[str, Any]) -> None:
    """Nothing is offered that is not documented, but for the document itself and downloads of tables."""
    routes = {
        (method.lower(), rule.rule.replace("<int:", "<").replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/")
    }
    documented = {(method, path) for method, path, _ in operations(document)}
    undocumented = {path for _, path in routes - documented}
    assert undocumented <= {"/api/v1/openapi.json", "/api/v1/benchmarks/{name}/leaderboard.csv"}
    assert documented <= routes


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """No schema is named that is not there."""
    text = json.dumps(document)
    named = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert named <= set(document["components"]["schemas"])


def test_every_operation_says_who_may_call_it_and_what_comes_back(document: dict[str, Any]) -> None:
    """A summary, a role that exists, an answer, and the problem document for everything else."""
    for method, path, entry in operations(document):
        assert entry["summary"].endswith("."), path
        assert set(entry.get("security", [{"token": []}])[0]["token"]) <= CALLERS
        assert "default" in entry["responses"], path
        if method in ("post", "patch") and path.endswith(("claim", "heartbeat", "result", "uploads", "enrolments")):
            assert entry["requestBody"]["required"]


def test_no_message_takes_undeclared_fields(document: dict[str, Any]) -> None:
    """What is not a declared field cannot be sent: every object schema is closed, but for OAuth's two forms."""
    # RFC 6749, section 3.1: parameters that are not understood are ignored.
    forms = {"DeviceForm", "TokenForm"}
    for name, schema in document["components"]["schemas"].items():
        if schema.get("type") == "object" and "properties" in schema and name not in forms:
            assert schema["additionalProperties"] is False, name


@pytest.mark.parametrize("code", sorted(PROBLEMS))
def test_every_problem_has_a_name_a_status_and_a_remedy(code: str) -> None:
    """Whoever is refused learns what to do about it."""
    problem = PROBLEMS[code]
    assert 400 <= problem.status < 600
    assert problem.title[0].isupper()
    assert problem.hint.endswith(".")
