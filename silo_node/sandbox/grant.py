"""What a jail of this node may use: the machine's limits of ``silo.toml``, under the site's own of ``policy.toml``."""

from pathlib import Path
from typing import Any

from silo_node.config import NodeConfig
from silo_node.policy.schema import ResourceRules
from silo_node.sandbox import Sandbox, choose
from silo_node.sandbox.container import Container
from silo_node.sandbox.limits import Limits

INSPECTION = Limits(wall_seconds=120, memory_mb=1_000, file_mb=1, scratch_mb=16, processes=8)
"""For a look at files that nobody has judged yet: it needs little."""


def sandbox_of(config: NodeConfig) -> Sandbox:
    """Return the sandbox a node's configuration chooses, tried once; raises :class:`SandboxUnavailable`."""
    driver = config.sandbox.driver
    if config.development_no_sandbox or driver == "bubblewrap":
        return choose(development_no_sandbox=config.development_no_sandbox)
    return Container.find(driver, config.sandbox.image)


def containers_of(config: NodeConfig, sandbox: Sandbox) -> Container | None:
    """Return what runs models with code at this site, tried once; None where nothing is configured.

    Raises :class:`SandboxUnavailable` where an engine is configured and cannot be tried.
    """
    if isinstance(sandbox, Container):
        return sandbox
    engine = config.sandbox.containers
    return None if engine is None else Container.find(engine, config.sandbox.image)


def granted(
    config: NodeConfig, minutes: float, resources: ResourceRules | None = None, *, training: bool = False
) -> Limits:
    """Return the limits of a jail that may run this long; the stricter of the two files counts.

    A study's training gets the graphics card where the policy grants a share of it.
    """
    rules = resources or ResourceRules()
    return Limits(
        wall_seconds=minutes * 60,
        memory_mb=_stricter(config.limits.memory_mb, rules.memory_mb),
        file_mb=config.limits.file_mb,
        scratch_mb=config.limits.scratch_mb,
        processes=config.limits.processes,
        threads=_stricter(config.threads, rules.threads),
        **(_graphics(config.sandbox.graphics, rules.gpu_share) if training else {}),
    )


def graphics_devices(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the device files of this machine's NVIDIA cards, as their driver names them."""
    names = (*folder.glob("nvidia[0-9]*"), folder / "nvidiactl", folder / "nvidia-uvm")
    return tuple(sorted(str(name) for name in names if name.exists()))


def _graphics(named: tuple[str, ...] | None, share: float) -> dict[str, Any]:
    """Return what a training jail gets of the graphics card: its devices and the share of memory it may take."""
    found = graphics_devices() if named is None else tuple(name for name in named if Path(name).is_char_device())
    devices = found if share > 0 else ()
    return {"devices": devices, "environment": {"MEDSILO_GPU_SHARE": f"{share:g}"}} if devices else {}


def _stricter(machine: int, site: int | None) -> int:
    return machine if site is None else min(machine, site)
