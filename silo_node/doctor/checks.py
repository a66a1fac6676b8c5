"""The checks. Each looks at one thing and returns one finding; none changes anything.

Codes stay what they are, so that a ticket from one hospital can be understood in another.
"""

import os
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from silo_node.config import NodeConfig, load_config
from silo_node.doctor.findings import Finding
from silo_node.hub import Hub
from silo_node.identity import Enrolment, gate, load_enrolment
from silo_node.outbox.egress_log import EgressLog
from silo_node.policy import load_policy
from silo_node.sandbox import choose
from silo_node.state import Home
from silo_node.wire.errors import MedSiloError

SKEW_SECONDS = 60.0
PRIVATE = ("identity", "private", "identity/key.pem", "identity/token", "private/site.key", "journal.sqlite")


def examine(home: Home) -> list[Finding]:
    """Run every check, the cheap and basic ones first."""
    settings, config = check_settings(home)
    findings = [settings, check_policy(home), check_permissions(home), check_disk(home, config), check_sandbox(config)]
    findings.append(check_egress_log(home))
    return [*findings, *check_hub(home, config)]


def check_settings(home: Home) -> tuple[Finding, NodeConfig]:
    """SN-CFG-001: the configuration can be read."""
    try:
        return Finding("SN-CFG-001", "well", "the configuration is valid"), load_config(home)
    except MedSiloError as error:
        return Finding("SN-CFG-001", "failed", str(error), error.hint), NodeConfig()


def check_policy(home: Home) -> Finding:
    """SN-CFG-002: the policy can be read, and somebody wrote it."""
    try:
        load_policy(home)
    except MedSiloError as error:
        return Finding("SN-CFG-002", "failed", str(error), error.hint)
    if home.policy_file.exists():
        return Finding("SN-CFG-002", "well", "the policy is valid")
    remedy = "run silo-node benchmark join NAME, or write policy.toml"
    return Finding("SN-CFG-002", "warning", "there is no policy.toml: nothing is taken part in", remedy)


def check_permissions(home: Home) -> Finding:
    """SN-PRM-001: nobody but the owner can read keys and patients' data."""
    if not home.path.exists():
        return Finding("SN-PRM-001", "skipped", f"{home.path} is not there yet", "run silo-node enrol")
    if not os.access(home.path, os.W_OK):
        return Finding("SN-PRM-001", "failed", f"{home.path} is not writable", "run as the folder's owner")
    open_to_others = [name for name in PRIVATE if _open_to_others(home.path / name)]
    if open_to_others:
        text = f"others may read {', '.join(open_to_others)}"
        return Finding("SN-PRM-001", "failed", text, "run chmod go-rwx on them")
    return Finding("SN-PRM-001", "well", "private files are private")


def check_disk(home: Home, config: NodeConfig) -> Finding:
    """SN-DSK-001: there is room for work."""
    free = shutil.disk_usage(home.path if home.path.exists() else "/").free // 1_000_000
    if free < config.limits.disk_free_mb:
        text = f"{free} MB free, and no task is taken under {config.limits.disk_free_mb} MB"
        return Finding("SN-DSK-001", "failed", text, "free space, or lower limits.disk_free_mb")
    return Finding("SN-DSK-001", "well", f"{free} MB free")


def check_sandbox(config: NodeConfig) -> Finding:
    """SN-SBX-001: a process can be jailed on this machine."""
    if config.development_no_sandbox:
        remedy = "remove development_no_sandbox from silo.toml"
        return Finding("SN-SBX-001", "failed", "tasks run without a sandbox", remedy)
    try:
        choose()
    except MedSiloError as error:
        return Finding("SN-SBX-001", "failed", error.detail, error.hint)
    return Finding("SN-SBX-001", "well", "bubblewrap starts a jail")


def check_egress_log(home: Home) -> Finding:
    """SN-LOG-001: the chain of the egress log holds."""
    try:
        lines, _ = EgressLog(home.egress_log).verify()
    except MedSiloError as error:
        return Finding("SN-LOG-001", "failed", str(error), error.hint)
    return Finding("SN-LOG-001", "well", f"the chain of {lines} lines holds")


def check_hub(home: Home, config: NodeConfig) -> list[Finding]:
    """SN-NET-001 to 003 and SN-CLK-001: the hub answers, over TLS, with the pinned key, and the clocks agree."""
    try:
        enrolment = load_enrolment(home)
    except MedSiloError as error:
        return [Finding("SN-NET-001", "skipped", error.title, error.hint)]
    hub = Hub(config.hub_url or enrolment.hub_url, gate(home), config)
    try:
        key = hub.information().public_key
    except MedSiloError as error:
        return [Finding("SN-NET-001", "failed", str(error), error.hint)]
    finally:
        hub.close()
    reached = Finding("SN-NET-001", "well", f"{hub.address} answers")
    return [reached, check_tls(hub.address), check_key(enrolment, key), check_clock(hub.server_time, _now)]


def check_tls(address: str) -> Finding:
    """SN-NET-002: the connection is encrypted, unless the hub is on this machine."""
    parts = urlsplit(address)
    if parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost", "::1"):
        return Finding("SN-NET-002", "well", "the connection is encrypted, or does not leave this machine")
    return Finding("SN-NET-002", "warning", f"{address} is not encrypted", "use the hub's https address")


def check_key(enrolment: Enrolment, shown: str) -> Finding:
    """SN-NET-003: the hub shows the key that was pinned at enrolment."""
    if shown == enrolment.hub_public_key:
        return Finding("SN-NET-003", "well", "the hub's key is the pinned one")
    return Finding("SN-NET-003", "failed", "the hub shows another key than at enrolment", "call the hub's admin")


def check_clock(server: datetime | None, now: Callable[[], datetime]) -> Finding:
    """SN-CLK-001: this machine's clock agrees with the hub's to a minute."""
    if server is None:
        return Finding("SN-CLK-001", "skipped", "the hub did not tell its time")
    skew = (now() - server).total_seconds()
    if abs(skew) > SKEW_SECONDS:
        text = f"this clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the hub's"
        return Finding("SN-CLK-001", "failed", text, "set the clock, for example with chrony")
    return Finding("SN-CLK-001", "well", "the clocks agree")


def _now() -> datetime:
    return datetime.now(UTC)


def _open_to_others(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
