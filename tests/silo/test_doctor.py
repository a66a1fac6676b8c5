"""The doctor: what is wrong has a code and a remedy, on real sockets, real TLS and real proxies."""

import json
import os
import shutil
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from silo_node.agent.health import Pulse
from silo_node.config import NodeConfig, load_config
from silo_node.doctor import CARDS, Finding, examine, keep_report, last_report
from silo_node.doctor.bugreport import write_bugreport
from silo_node.doctor.imaging import check_intake
from silo_node.doctor.jailed import check_model
from silo_node.doctor.local import check_disk, check_permissions, check_service, parsed_version
from silo_node.doctor.network import check_clock, check_network, check_versions
from silo_node.outbox.egress_log import EgressLog
from silo_node.state import Home
from silo_node.status import overview
from silo_node.wire.enrolment import HubInformation
from silo_node.wire.envelope import new_key, public_key_text
from tests.silo.furnished import furnish
from tests.silo.peer import peer
from tests.silo.proxies import Authority, authority, forward_proxy, tls_peer
from tests.silo.stand_in import StandIn, enrolled, free_port, home_at

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hub() -> StandIn:
    return StandIn()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, hub: StandIn) -> Home:
    found = home_at(tmp_path_factory.mktemp("doctor"))
    enrolled(found, hub)
    return found


@pytest.fixture(scope="module")
def hub_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"), "Hub Authority")


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
            monkeypatch.delenv(name)


def verdicts(findings: list[Finding]) -> dict[str, str]:
    return {finding.code: finding.verdict for finding in findings}


def text_of(findings: list[Finding], code: str) -> str:
    return next(finding.text for finding in findings if finding.code == code)


def asked(home: Home, **settings: object) -> list[Finding]:
    return check_network(home, NodeConfig.model_validate({"connect_timeout_seconds": 3, **settings}))


# the way to the hub


def test_a_hub_behind_tls_of_a_known_authority_is_well(
    home: Home, hub: StandIn, hub_authority: Authority, tmp_path: Path
) -> None:
    with tls_peer(hub, hub_authority.context(tmp_path)) as address:
        found = asked(home, hub_url=address, ca_bundle=hub_authority.pem)
    assert set(verdicts(found).values()) == {"well"}
    assert set(verdicts(found)) == {
        "SN-NET-001", "SN-NET-002", "SN-NET-003", "SN-NET-005", "SN-NET-006", "SN-NET-007", "SN-CLK-001", "SN-VER-002"
    }  # fmt: skip


def test_a_forward_proxy_is_passed_and_named(
    home: Home, hub: StandIn, hub_authority: Authority, tmp_path: Path
) -> None:
    """The name of the hub is then the proxy's to resolve."""
    with tls_peer(hub, hub_authority.context(tmp_path)) as address, forward_proxy() as proxy:
        found = asked(home, hub_url=address, ca_bundle=hub_authority.pem, proxy=proxy.url)
    assert set(verdicts(found).values()) == {"well"}
    assert "SN-NET-004" in verdicts(found)
    assert "SN-NET-006" not in verdicts(found)
    assert set(proxy.connected) == {address.removeprefix("https://")}


def test_a_proxy_that_wants_a_password_gets_it_from_the_environment(
    home: Home, hub: StandIn, hub_authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no finding repeats it."""
    with (
        tls_peer(hub, hub_authority.context(tmp_path)) as address,
        forward_proxy(password="silo:topsecretword") as proxy,
    ):
        without = asked(home, hub_url=address, ca_bundle=hub_authority.pem, proxy=proxy.url)
        assert verdicts(without)["SN-NET-001"] == "failed"
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://silo:topsecretword@"))
        found = asked(home, hub_url=address, ca_bundle=hub_authority.pem)
    assert set(verdicts(found).values()) == {"well"}
    assert "topsecretword" not in str(found)


def test_a_proxy_that_is_gone_is_told(home: Home) -> None:
    found = asked(home, proxy=f"http://127.0.0.1:{free_port()}", hub_url="https://hub.example.org")
    assert verdicts(found)["SN-NET-004"] == "failed"
    assert verdicts(found)["SN-NET-001"] == "failed"


def test_a_proxy_that_opens_tls_is_found_named_and_told_how_to_trust(
    home: Home, hub: StandIn, hub_authority: Authority, tmp_path: Path
) -> None:
    """Before its authority is in ca_bundle nothing works; afterwards it does, and is still named."""
    hospital = authority(tmp_path, "St Elsewhere IT")
    with (
        tls_peer(hub, hub_authority.context(tmp_path)) as address,
        forward_proxy(inspecting=hospital.context(tmp_path), trusted=hub_authority.pem) as proxy,
    ):
        before = asked(home, hub_url=address, proxy=proxy.url)
        after = asked(home, hub_url=address, proxy=proxy.url, ca_bundle=hospital.pem)
    assert verdicts(before)["SN-NET-005"] == "failed"
    assert "made by St Elsewhere IT is not trusted" in text_of(before, "SN-NET-005")
    assert "ca_bundle" in next(found.remedy or "" for found in before if found.code == "SN-NET-005")
    assert set(verdicts(after).values()) == {"well"}
    assert "a proxy of St Elsewhere IT opens TLS" in text_of(after, "SN-NET-005")


def test_a_certificate_that_ends_soon_is_told_before_it_does(
    home: Home, hub: StandIn, hub_authority: Authority, tmp_path: Path
) -> None:
    with tls_peer(hub, hub_authority.context(tmp_path, days=5)) as address:
        found = asked(home, hub_url=address, ca_bundle=hub_authority.pem)
    assert verdicts(found)["SN-NET-005"] == "warning"
    assert "ends in 5 days" in text_of(found, "SN-NET-005")


def test_a_certificate_nobody_here_knows_is_not_trusted(
    home: Home, hub: StandIn, hub_authority: Authority, tmp_path: Path
) -> None:
    with tls_peer(hub, hub_authority.context(tmp_path)) as address:
        found = asked(home, hub_url=address)
    assert verdicts(found)["SN-NET-005"] == "failed"
    assert verdicts(found)["SN-NET-001"] == "failed"


def test_a_name_that_does_not_resolve_is_told_as_that(home: Home) -> None:
    assert verdicts(asked(home, hub_url="https://hub.invalid"))["SN-NET-006"] == "failed"


def test_a_hub_with_another_key_fails(home: Home, hub: StandIn) -> None:
    """Whoever shows it: this is a matter for the telephone."""
    other = StandIn(key=new_key())
    with peer(other) as server:
        assert verdicts(asked(home, hub_url=server.url))["SN-NET-003"] == "failed"


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "well"), (59, "well"), (61, "failed"), (-3600, "failed")])
def test_a_clock_may_be_a_minute_off(seconds: int, verdict: str) -> None:
    hub_time = datetime(2026, 5, 3, tzinfo=UTC)
    found = check_clock(hub_time, lambda: hub_time + timedelta(seconds=seconds))
    assert found.verdict == verdict
    if verdict == "failed":
        assert ("ahead of" if seconds > 0 else "behind") in found.text


@pytest.mark.parametrize(
    ("wire", "recommended", "verdict"),
    [((1,), None, "well"), ((1,), "0.0.9", "well"), ((1,), "99.1", "warning"), ((7,), None, "failed")],
)
def test_versions_are_compared(wire: tuple[int, ...], recommended: str | None, verdict: str) -> None:
    key = public_key_text(new_key().public_key())
    hub = HubInformation(
        name="Hub", version="1", wire_versions=wire, public_key=key, development=False, recommended_node=recommended
    )
    assert check_versions(hub).verdict == verdict


def test_version_numbers_are_read_as_numbers() -> None:
    assert parsed_version("2.13.0+cpu") > parsed_version("2.9")
    assert parsed_version("1.6.1rc2") == (1, 6)


# this machine


@pytest.mark.parametrize("name", ["console/people.json", "private", "identity/key.pem"])
def test_what_others_may_read_is_named(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path).create()
    path = tmp_path / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.suffix:
        path.touch()
    path.chmod(0o755)
    found = check_permissions(home)
    assert found.verdict == "failed"
    assert name in found.text


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free // 1_000_000
    home = Home(tmp_path)
    limits = [{"disk_free_mb": limit} for limit in (free + 10_000, int(free / 1.5), 1)]
    found = [check_disk(home, NodeConfig.model_validate({"limits": limit})).verdict for limit in limits]
    assert found == ["failed", "warning", "well"]


def test_a_node_that_hangs_is_told_from_one_that_is_down(tmp_path: Path) -> None:
    """By the sign of life its loop gives."""
    home = Home(tmp_path).create()
    assert check_service(home).verdict == "warning"
    pulse = Pulse(home)
    pulse.beat(())
    assert check_service(home).verdict == "well"
    assert check_service(home, datetime.now(UTC) + timedelta(minutes=5)).verdict == "failed"
    pulse.end("stopped")
    assert check_service(home).verdict == "warning"


def test_a_made_up_patient_goes_through_the_intake(tmp_path: Path) -> None:
    """The real one, in a state folder of its own."""
    assert check_intake().verdict == "well"


@pytest.mark.slow
def test_a_model_runs_on_a_phantom_in_the_jail() -> None:
    found = check_model(NodeConfig())
    assert found.verdict == "well"
    assert found.text.endswith(" ms")


def test_a_check_that_breaks_does_not_end_the_examination(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    home.egress_log.mkdir()
    found = verdicts(examine(home, quick=True))
    assert found["SN-LOG-001"] == "failed"
    assert found["SN-SBX-001"] == "well"


def test_every_finding_has_its_card_and_every_card_its_page(home: Home) -> None:
    """What the doctor says stands in the reference, under an anchor a link can name."""
    found = examine(home, quick=True)
    page = (ROOT / "docs" / "reference" / "doctor.md").read_text()
    assert {finding.code for finding in found} <= set(CARDS)
    for finding in found:
        assert f"## {finding.docs.partition('#')[2].upper()}" in page


# what is kept and told


def test_status_repeats_what_the_doctor_found(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    findings = [
        Finding("SN-NET-005", "failed", "not trusted", "trust it"),
        Finding("SN-CLK-001", "warning", "half a minute off", "set it"),
        Finding("SN-DSK-001", "well", "ok"),
    ]
    keep_report(home, findings)
    assert last_report(home) is not None
    warnings = {warning["code"]: warning["text"] for warning in overview(home, load_config(home))["warnings"]}
    assert "trust it" in warnings["SN-NET-005"]
    assert "set it" in warnings["SN-CLK-001"]
    assert "SN-DSK-001" not in warnings


def test_a_bug_report_holds_no_secret_no_patient_and_no_address(tmp_path: Path) -> None:
    """Markers are planted wherever a careless copy would find them."""
    home, _ = furnish(tmp_path)
    marker = "MARKERxyz"
    home.config_file.write_text(
        f'provenance = "synthetic"\nhub_url = "https://{marker}.example"\nproxy = "http://{marker}:3"\n'
    )
    home.policy_file.write_text(
        f'[benchmarks]\nallow = ["{marker.lower()}_x"]\n[studies]\nallow = ["{marker.lower()}_y"]\n'
    )
    (home.private / "raw" / marker).mkdir()
    (home.console).mkdir(exist_ok=True)
    home.console_people.write_text(json.dumps({marker: marker}))
    EgressLog(home.egress_log).append(
        method="POST", path=f"/{marker}", kind="Decline", digest="blake3:" + "a" * 64, size=1, subject=marker
    )
    log = tmp_path / "node.log"
    lines = [
        {
            "time": "t",
            "level": "info",
            "logger": "silo_node.agent",
            "event": "claimed",
            "task": "task-1",
            "patient": marker,
        },
        {"time": "t", "level": "error", "logger": "requests", "event": marker},
    ]
    log.write_text("\n".join(map(json.dumps, lines)) + f"\nTraceback {marker}\n")
    out = tmp_path / "report.zip"
    write_bugreport(home, out, [Finding("SN-NET-001", "failed", f"https://{marker}.example is gone")], log)
    secrets = [home.token_file.read_text().strip(), home.key_file.read_text().splitlines()[1]]
    whole = b"".join(zipfile.ZipFile(out).read(name) for name in zipfile.ZipFile(out).namelist()).decode()
    for forbidden in (marker, marker.lower(), *secrets, "P000001", str(home.path)):
        assert forbidden not in whole
    assert '"SN-NET-001"' in whole
    assert '"claimed"' in whole
    assert '"hub_url": "set"' in whole
    assert out.stat().st_mode & 0o777 == 0o600
