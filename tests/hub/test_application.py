"""What holds for every answer: headers, limits, and faults that tell nothing."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from federation_hub.config import load_config
from silo_node.web.headers import is_cross_site
from silo_node.wire.errors import ConfigError
from tests.hub.federation import Federation


@pytest.mark.parametrize("path", ["/api/v1/hub", "/healthz", "/api/v1/nothing", "/api/v1/me"])
def test_every_answer_carries_the_security_headers(client: FlaskClient, path: str) -> None:
    """Also a refusal; no page may run a script or be framed."""
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert len(headers["X-Request-Id"]) == 16


def test_a_fault_tells_its_request_id_and_nothing_else(app: Flask) -> None:
    """The operator finds the trace in the log under that id."""

    def broken() -> str:
        raise ZeroDivisionError("DOE^JANE")

    app.add_url_rule("/api/v1/broken", view_func=broken)
    with capture_logs() as lines:
        answer = app.test_client().get("/api/v1/broken")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal-error")
    assert "DOE" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["X-Request-Id"] in [line["request_id"] for line in lines if line["event"] == "fault"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "body-not-json"),
        (b"[1]", "body-not-json"),
        (b'{"code": 1, "code": 2}', "body-not-json"),
        (b'{"code": NaN}', "body-not-json"),
        (b"\xff\xfe{}", "body-not-json"),
        (b"[" * 50_000, "body-not-json"),
        (b'{"a":' * 10_000, "body-not-json"),
        (b"{}", "malformed-message"),
        (b'{"code": {"code": {}}}', "malformed-message"),
    ],
)
def test_a_body_that_is_no_message_is_refused(client: FlaskClient, data: bytes, code: str) -> None:
    """Whatever it is, the answer is a problem with a code."""
    answer = client.post("/api/v1/enrolments", data=data)
    assert answer.get_json()["code"] == code
    assert answer.content_type == "application/problem+json"


def test_a_message_that_is_too_large_is_refused(federation: Federation) -> None:
    """Large data goes through uploads, in chunks."""
    data = b" " * (federation.services.config.maximum_message_bytes + 1)
    answer = federation.anybody.request("POST", "/enrolments", data=data)
    assert (answer.status_code, answer.get_json()["code"]) == (413, "body-too-large")


def test_an_unknown_query_is_refused_by_declared_names(federation: Federation) -> None:
    """A mistyped filter is told, not ignored, and not repeated."""
    answer = federation.researcher().get("/models", doe_jane="1")
    assert (answer.get_json()["code"], answer.get_json()["fields"]) == ("malformed-message", ["(undeclared)"])


def test_another_method_says_so(client: FlaskClient) -> None:
    """In the same words as every refusal."""
    assert client.delete("/api/v1/hub").get_json()["code"] == "method-not-allowed"


def test_another_site_cannot_act_through_a_reader_s_browser(client: FlaskClient) -> None:
    """A browser says where a request comes from; a program says nothing and is let in by its token."""
    answer = client.post("/api/v1/enrolments", json={}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.get_json()["code"] == "not-permitted"


@pytest.mark.parametrize(
    ("method", "fetch_site", "origin", "refused"),
    [
        ("GET", "cross-site", "https://evil.example", False),
        ("POST", "same-origin", "https://hub.example", False),
        ("POST", "none", None, False),
        ("POST", "same-site", "https://other.example", True),
        ("POST", None, "https://hub.example", False),
        ("POST", None, "https://evil.example", True),
        ("POST", None, "null", True),
        ("POST", None, None, False),
    ],
)
def test_where_a_request_comes_from(method: str, fetch_site: str | None, origin: str | None, refused: bool) -> None:
    """Reading is free; writing needs the same origin, by the newer header or the older one."""
    assert is_cross_site(method, "hub.example", fetch_site, origin) == refused


def test_a_hub_whose_schema_is_not_this_release_s_is_not_ready(federation: Federation) -> None:
    """A load balancer keeps people away from it; the process itself lives."""
    assert federation.anybody.http.get("/readyz").status_code == 200
    with federation.services.database.session() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    assert federation.anybody.http.get("/readyz").status_code == 503
    assert federation.anybody.http.get("/healthz").status_code == 200


def test_an_unknown_setting_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    """A misspelt key must not silently mean the default."""
    (tmp_path / "hub.toml").write_text("lease_second = 5\n")
    with pytest.raises(ConfigError, match=r"config-unknown-key.*lease_seconds"):
        load_config(tmp_path)
    (tmp_path / "hub.toml").write_text("lease_seconds = -5\n")
    with pytest.raises(ConfigError, match=r"config-invalid.*lease_seconds"):
        load_config(tmp_path)
    (tmp_path / "hub.toml").write_text('name = "Hub of tests"\n')
    assert load_config(tmp_path).name == "Hub of tests"
