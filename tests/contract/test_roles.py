"""Every route against everybody: who may not, is refused before anything of the request is read."""

import re

import pytest
from flask import Flask

from federation_hub.accounts.actors import ROLES
from federation_hub.api import Operation
from silo_node.wire.versions import CURRENT, HEADER
from tests.hub.federation import Caller, Federation


def routes(app: Flask) -> list[tuple[str, Operation]]:
    """Return every documented route with a path that names nothing there is."""
    found = []
    for rule in app.url_map.iter_rules():
        operation = getattr(app.view_functions[rule.endpoint], "operation", None)
        if operation is not None:
            path = re.sub(r"<(int:)?\w+>", lambda match: "1" if match[1] else "none-000000", rule.rule)
            found.append((path, operation))
    return found


def status(caller: Caller, path: str, operation: Operation) -> tuple[int, str | None]:
    """Call a route with a body that is no message at all; return status and problem code."""
    headers = {HEADER: str(CURRENT)}
    if caller.token is not None:
        headers["Authorization"] = f"Bearer {caller.token}"
    answer = caller.http.open(path, method=operation.method, headers=headers, data=b"[", buffered=True)
    return answer.status_code, (answer.get_json(silent=True) or {}).get("code")


def test_nobody_passes_a_guarded_route_without_a_token(federation: Federation) -> None:
    """Before the body is read, so that an outsider cannot even make the hub parse."""
    for path, operation in routes(federation.app):
        if operation.roles is not None:
            assert status(federation.anybody, path, operation) == (401, "not-authenticated"), path


@pytest.mark.parametrize("role", ROLES)
def test_a_person_passes_exactly_the_routes_of_the_role(federation: Federation, role: str) -> None:
    """The document's roles are the ones that are enforced."""
    caller = federation.person("Ada", role)
    for path, operation in routes(federation.app):
        if operation.roles is not None:
            refused = status(caller, path, operation) == (403, "not-permitted")
            assert refused == (role not in operation.roles), f"{operation.method} {path}"


def test_a_silo_passes_exactly_the_routes_of_silos(federation: Federation) -> None:
    """A node's token opens nothing of people's."""
    silo = federation.silo()
    for path, operation in routes(federation.app):
        if operation.roles is not None:
            refused = status(silo, path, operation) == (403, "not-permitted")
            assert refused == ("silo" not in operation.roles), f"{operation.method} {path}"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer x",
        "Basic eDp5",
        "Bearer msp_" + "A" * 49,
        "Bearer mss_" + "ü" * 49,
        "Bearer " + "a" * 5000,
    ],
)
def test_a_token_that_is_none_is_refused(federation: Federation, header: str) -> None:
    """Whatever it looks like."""
    answer = federation.anybody.http.get(
        "/api/v1/me", headers={"Authorization": header.encode("utf-8").decode("latin-1")}
    )
    assert (answer.status_code, answer.get_json()["code"]) == (401, "not-authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
