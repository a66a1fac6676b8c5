"""Running the checks, cheap and basic ones first. None changes anything, and none can end the examination."""

from collections.abc import Callable

from silo_node.config import NodeConfig
from silo_node.doctor import local, network
from silo_node.doctor.findings import Finding, failed
from silo_node.state import Home


def examine(home: Home, *, quick: bool = False) -> list[Finding]:
    """Run every check; ``quick`` leaves out those that take some seconds: an intake and a model in the jail."""
    settings, config = local.check_settings(home)
    return [settings, *(finding for code, check in _checks(home, config, quick) for finding in _guarded(code, check))]


def _checks(home: Home, config: NodeConfig, quick: bool) -> list[tuple[str, Callable[[], list[Finding]]]]:
    from silo_node.doctor import imaging, jailed

    basic: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("SN-CFG-002", lambda: [local.check_policy(home)]),
        ("SN-PRM-001", lambda: [local.check_permissions(home)]),
        ("SN-DSK-001", lambda: [local.check_disk(home, config)]),
        ("SN-LOG-001", lambda: [local.check_egress_log(home)]),
        ("SN-SVC-001", lambda: [local.check_service(home)]),
        ("SN-VER-001", lambda: [local.check_libraries()]),
        ("SN-SBX-001", lambda: jailed.check_sandbox(home, config)),
        ("SN-NET-001", lambda: network.check_network(home, config)),
        ("SN-DCM-002", lambda: [imaging.check_decoders()]),
    ]
    slow: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("SN-DCM-001", lambda: [imaging.check_intake()]),
        ("SN-MDL-001", lambda: [jailed.check_model(config)]),
    ]
    return basic if quick else basic + slow


def _guarded(code: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """Return what a check finds. One that breaks is a finding too: the others must still be made."""
    try:
        return check()
    except Exception as error:
        # Whatever is wrong with this machine may break a check in a way nobody foresaw; its kind is what helps then.
        return [failed(code, f"the check itself broke: {type(error).__name__}", "report this")]
