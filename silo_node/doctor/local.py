"""Checks of this machine and its state folder."""

import os
import shutil
import stat
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from silo_node.agent.health import read_health
from silo_node.config import NodeConfig, load_config
from silo_node.doctor.findings import Finding, failed, skipped, warning, well
from silo_node.outbox.egress_log import EgressLog
from silo_node.policy import load_policy
from silo_node.state import Home
from silo_node.wire.errors import MedSiloError

PRIVATE = (
    "identity",
    "private",
    "console",
    "identity/key.pem",
    "identity/token",
    "private/site.key",
    "journal.sqlite",
    "console/people.json",
)
LIBRARIES = {"torch": (2, 9), "monai": (1, 6, 1), "pydicom": (3, 0, 2), "numpy": (2,), "safetensors": (0, 6)}
"""The oldest version of each library that works; MONAI before 1.6.1 has known holes."""


def check_settings(home: Home) -> tuple[Finding, NodeConfig]:
    """SN-CFG-001: the configuration can be read."""
    try:
        return well("SN-CFG-001", "the configuration is valid"), load_config(home)
    except MedSiloError as error:
        return failed("SN-CFG-001", str(error), error.hint), NodeConfig()


def check_policy(home: Home) -> Finding:
    """SN-CFG-002: the policy can be read, and somebody wrote it."""
    try:
        load_policy(home)
    except MedSiloError as error:
        return failed("SN-CFG-002", str(error), error.hint)
    if home.policy_file.exists():
        return well("SN-CFG-002", "the policy is valid")
    return warning("SN-CFG-002", "there is no policy.toml: nothing is taken part in")


def check_permissions(home: Home) -> Finding:
    """SN-PRM-001: nobody but the owner can read keys and patients' data."""
    if not home.path.exists():
        return skipped("SN-PRM-001", f"{home.path} is not there yet", "run silo-node enrol")
    if not os.access(home.path, os.W_OK):
        return failed("SN-PRM-001", f"{home.path} is not writable", "run as the folder's owner")
    open_to_others = [name for name in PRIVATE if _open_to_others(home.path / name)]
    if open_to_others:
        return failed("SN-PRM-001", f"others may read {', '.join(open_to_others)}")
    return well("SN-PRM-001", "private files are private")


def check_disk(home: Home, config: NodeConfig) -> Finding:
    """SN-DSK-001: there is room for work."""
    free = shutil.disk_usage(home.path if home.path.exists() else "/").free // 1_000_000
    if free < config.limits.disk_free_mb:
        return failed("SN-DSK-001", f"{free} MB free, and no task is taken under {config.limits.disk_free_mb} MB")
    if free < 2 * config.limits.disk_free_mb:
        return warning("SN-DSK-001", f"{free} MB free; under {config.limits.disk_free_mb} MB no task is taken")
    return well("SN-DSK-001", f"{free} MB free")


def check_egress_log(home: Home) -> Finding:
    """SN-LOG-001: the chain of the egress log holds."""
    try:
        lines, _ = EgressLog(home.egress_log).verify()
    except MedSiloError as error:
        return failed("SN-LOG-001", str(error), error.hint)
    return well("SN-LOG-001", f"the chain of {lines} lines holds")


def check_service(home: Home, now: datetime | None = None) -> Finding:
    """SN-SVC-001: the node's loop turned within the last minute."""
    found = read_health(home)
    if found is None or found.state == "stopped":
        return warning("SN-SVC-001", "the node is not running")
    if not found.fresh(now or datetime.now(UTC)):
        return failed("SN-SVC-001", f"the node gave its last sign of life at {found.beat[:19]} UTC")
    return well("SN-SVC-001", f"the node runs, version {found.version}, state {found.state}")


def check_libraries() -> Finding:
    """SN-VER-001: what the pipelines need is there, new enough."""
    wrong = [found for name, oldest in LIBRARIES.items() if (found := _wrong_version(name, oldest))]
    if wrong:
        return failed("SN-VER-001", "; ".join(wrong))
    return well("SN-VER-001", ", ".join(f"{name} {version(name)}" for name in LIBRARIES))


def parsed_version(text: str) -> tuple[int, ...]:
    """Return the numbers a version begins with: ``2.13.0+cpu`` is (2, 13, 0)."""
    numbers = []
    for part in text.partition("+")[0].split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _wrong_version(name: str, oldest: tuple[int, ...]) -> str | None:
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} is not installed"
    wanted = ".".join(map(str, oldest))
    return f"{name} is {found}, and must be {wanted} or newer" if parsed_version(found) < oldest else None


def _open_to_others(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
