"""Checks of the way to the hub: proxy or name, certificate, the hub, its key, this site's standing, the clock."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

from silo_node import __version__
from silo_node.config import NodeConfig
from silo_node.doctor import certificates
from silo_node.doctor.findings import Finding, failed, skipped, warning, well
from silo_node.doctor.local import parsed_version
from silo_node.hub import Hub
from silo_node.identity import Enrolment, dial, gate, load_enrolment, load_identity
from silo_node.state import Home
from silo_node.transport import proxy_for
from silo_node.wire.enrolment import HubInformation, SiloStatus
from silo_node.wire.errors import MedSiloError
from silo_node.wire.versions import negotiate

SKEW_SECONDS = 60.0
SOON_DAYS = 21
LOCAL = ("127.0.0.1", "localhost", "::1")


def check_network(home: Home, config: NodeConfig) -> list[Finding]:
    """Every check of the way to the hub, from the nearest to the farthest."""
    try:
        enrolment = load_enrolment(home)
    except MedSiloError as error:
        return [skipped("SN-NET-001", error.title, error.hint)]
    address = config.hub_url or enrolment.hub_url
    findings = [check_way(address, config), check_tls(address), *certificates.check_certificate(address, config)]
    hub = Hub(address, gate(home), config)
    try:
        information = hub.information()
    except MedSiloError as error:
        return [*findings, failed("SN-NET-001", str(error), error.hint)]
    finally:
        hub.close()
    return [
        *findings,
        well("SN-NET-001", f"{hub.address} answers"),
        check_key(enrolment, information.public_key),
        check_standing(home, config),
        check_versions(information),
        check_clock(hub.server_time, _now),
    ]


def check_way(address: str, config: NodeConfig) -> Finding:
    """SN-NET-004 behind a forward proxy, SN-NET-006 without: the first thing on the way to the hub answers."""
    proxy, host = proxy_for(address, config), urlsplit(address).hostname or ""
    if proxy is not None:
        return _check_proxy(urlsplit(proxy).hostname or "", urlsplit(proxy).port or 80, config)
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return failed("SN-NET-006", f"the name {host} does not resolve here")
    return well("SN-NET-006", f"the name {host} resolves; no proxy is set")


def _check_proxy(host: str, port: int, config: NodeConfig) -> Finding:
    try:
        socket.create_connection((host, port), config.connect_timeout_seconds).close()
    except OSError:
        return failed("SN-NET-004", f"the proxy {host}:{port} does not answer")
    return well("SN-NET-004", f"the proxy {host}:{port} answers")


def check_tls(address: str) -> Finding:
    """SN-NET-002: the connection is encrypted, unless the hub is on this machine."""
    parts = urlsplit(address)
    if parts.scheme == "https" or parts.hostname in LOCAL:
        return well("SN-NET-002", "the connection is encrypted, or does not leave this machine")
    return warning("SN-NET-002", f"{address} is not encrypted")


def check_key(enrolment: Enrolment, shown: str) -> Finding:
    """SN-NET-003: the hub shows the key that was pinned at enrolment."""
    if shown == enrolment.hub_public_key:
        return well("SN-NET-003", "the hub's key is the pinned one")
    return failed("SN-NET-003", "the hub shows another key than at enrolment")


def check_standing(home: Home, config: NodeConfig) -> Finding:
    """SN-NET-007: the token is accepted, and the site is active."""
    try:
        hub = dial(home, config, load_identity(home))
        try:
            seen = hub.status()
        finally:
            hub.close()
    except MedSiloError as error:
        return failed("SN-NET-007", str(error), error.hint)
    return judge_standing(seen, _now())


def judge_standing(seen: SiloStatus, now: datetime) -> Finding:
    """Return what is to be said of how the hub sees this site."""
    if seen.state != "active":
        say = warning if seen.state == "pending" else failed
        return say("SN-NET-007", f"the hub sees this site as {seen.state}")
    if seen.token_expires is not None and (days := (seen.token_expires - now).days) < SOON_DAYS:
        return warning("SN-NET-007", f"the token ends in {max(days, 0)} days", "run silo-node rotate-key --token-only")
    return well("SN-NET-007", "the hub sees this site as active")


def check_versions(information: HubInformation) -> Finding:
    """SN-VER-002: both sides speak a common version, and this release is not older than the hub recommends."""
    if negotiate(information.wire_versions) is None:
        return failed("SN-VER-002", f"hub {information.version} and node {__version__} have no version in common")
    wanted = information.recommended_node
    if wanted is not None and parsed_version(__version__) < parsed_version(wanted):
        return warning("SN-VER-002", f"the hub recommends node {wanted}; this is {__version__}")
    return well("SN-VER-002", f"node {__version__} and hub {information.version} understand each other")


def check_clock(server: datetime | None, now: Callable[[], datetime]) -> Finding:
    """SN-CLK-001: this machine's clock agrees with the hub's to a minute."""
    if server is None:
        return skipped("SN-CLK-001", "the hub did not tell its time")
    skew = (now() - server).total_seconds()
    if abs(skew) > SKEW_SECONDS:
        return failed("SN-CLK-001", f"this clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the hub's")
    return well("SN-CLK-001", "the clocks agree")


def _now() -> datetime:
    return datetime.now(UTC)
