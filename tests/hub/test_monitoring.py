"""What a monitoring system sees: numbers, and nothing about anybody."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from federation_hub.app import create_app
from federation_hub.config import HubConfig
from federation_hub.services import Services
from tests.hub.federation import Federation


def read(federation: Federation) -> dict[str, float]:
    """Return every sample by its name and labels, read by Prometheus' own parser."""
    answer = federation.anybody.http.get("/metrics")
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    samples = [sample for family in families for sample in family.samples]
    return {f"{sample.name} {' '.join(sample.labels.values())}".strip(): sample.value for sample in samples}


def test_requests_and_states_are_counted_by_rule(federation: Federation) -> None:
    """An address with a made-up id, or one that is nothing at all, makes no line of its own."""
    federation.silo()
    federation.admin.get("/silos/silo-000000000000")
    federation.anybody.http.get("/a-patients-name")
    federation.anybody.http.open("/status", method="BREW")
    found = read(federation)
    assert found["medsilo_silos active"] == 1
    assert found["medsilo_boards_outdated"] == 0
    assert found["medsilo_requests_total GET /api/v1/silos/<silo_id> 404"] == 1
    text = " ".join(found)
    assert "a-patients-name" not in text
    assert "BREW" not in text
    assert "St. Example" not in text


@pytest.mark.parametrize(
    ("setting", "address", "status"),
    [("local", "127.0.0.1", 200), ("local", "192.0.2.1", 404), ("open", "192.0.2.1", 200), ("off", "127.0.0.1", 404)],
)
def test_who_may_read_it_is_a_setting(
    hub_config: HubConfig, hub_services: Services, setting: str, address: str, status: int
) -> None:
    """By default only callers on the hub's own machine."""
    config = hub_config.model_copy(update={"metrics": setting})
    object.__setattr__(hub_services, "config", config)
    client = create_app(config, services=hub_services).test_client()
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": address}).status_code == status


def test_what_browsers_report_is_counted_and_not_kept(federation: Federation) -> None:
    """Every page names the address in its policy; nothing of a report is stored or logged."""
    page = federation.anybody.http.get("/status")
    assert "report-uri /csp-reports" in page.headers["Content-Security-Policy"]
    assert page.headers["Reporting-Endpoints"] == 'csp="/csp-reports"'
    answer = federation.anybody.http.post("/csp-reports", json={"csp-report": {"blocked-uri": "inline"}})
    assert answer.status_code == 204
    assert read(federation)["medsilo_csp_reports_total"] == 1
    assert federation.anybody.http.post("/csp-reports", data=b"x" * 100_000).status_code == 413


def test_over_https_browsers_come_back_over_https_only(federation: Federation) -> None:
    """For two years; without TLS the header would mean nothing."""
    client = federation.anybody.http
    assert "Strict-Transport-Security" not in client.get("/status").headers
    secure = client.get("/status", base_url="https://localhost")
    assert secure.headers["Strict-Transport-Security"] == "max-age=63072000"
