"""Checks of the jail: that one can be made, that nothing gets out of it, and that a model runs in it."""

import sys
import tempfile
from pathlib import Path

from silo_node.config import NodeConfig
from silo_node.doctor.findings import Finding, failed, skipped, well
from silo_node.sandbox import Bind, Limits
from silo_node.sandbox.grant import sandbox_of
from silo_node.sandbox.probes import run as run_probes
from silo_node.state import Home
from silo_node.wire.errors import MedSiloError

_PHANTOM_LIMITS = Limits(wall_seconds=300, memory_mb=4_000, file_mb=100, scratch_mb=200)
_PHANTOM_SIZE = 64


def check_sandbox(home: Home, config: NodeConfig) -> list[Finding]:
    """SN-SBX-001 and 002: a process can be jailed on this machine, and does not get out."""
    if config.development_no_sandbox:
        remedy = "remove development_no_sandbox from silo.toml"
        return [failed("SN-SBX-001", "tasks run without a sandbox", remedy)]
    try:
        sandbox = sandbox_of(config)
    except MedSiloError as error:
        return [failed("SN-SBX-001", error.detail or error.title, error.hint)]
    jailed = well("SN-SBX-001", f"{config.sandbox.driver} starts a jail")
    results = run_probes(sandbox, hidden=[home.key_file, home.catalogue, home.raw])
    out = [result.title for result in results if not result.held]
    if out:
        return [jailed, failed("SN-SBX-002", f"from inside the jail a program reaches {'; '.join(out)}")]
    return [jailed, well("SN-SBX-002", f"{len(results)} attempts to get out came to nothing")]


def check_model(config: NodeConfig) -> Finding:
    """SN-MDL-001: a small model is made and run on a phantom, in the jail."""
    if config.development_no_sandbox:
        return skipped("SN-MDL-001", "tasks run without a sandbox")
    try:
        sandbox = sandbox_of(config)
    except MedSiloError as error:
        return skipped("SN-MDL-001", error.title)
    with tempfile.TemporaryDirectory(prefix="silo-doctor-") as name:
        folder = Path(name)
        _write_phantom(folder / "phantom.npy")
        (folder / "out").mkdir()
        binds = [Bind(folder / "phantom.npy", "/in/phantom.npy"), Bind(folder / "out", "/out", writable=True)]
        command = [sys.executable, "-m", "pipelines.phantom_run", "/in/phantom.npy", "/out"]
        jail = sandbox.start(command, binds, _PHANTOM_LIMITS, log=folder / "log")
        jail.close_input()
        said = [line.decode(errors="replace").strip() for line in jail.lines()]
        ending = jail.wait(_PHANTOM_LIMITS.wall_seconds)
        if ending.exceeded:
            return failed("SN-MDL-001", f"the run went over its limit of {ending.exceeded}")
        if not ending.well or not said:
            return failed("SN-MDL-001", f"the run ended without a result: {_last_line(folder / 'log')}")
        return well("SN-MDL-001", f"a model ran on a phantom in the jail; one prediction took {said[-1]}")


def _write_phantom(path: Path) -> None:
    import numpy as np

    from benchmarks.phantom.chest import Scanner, chest

    image = chest(np.random.default_rng(0), finding=True, scanner=Scanner(size=_PHANTOM_SIZE))
    np.save(path, image[None].astype(np.float32))


def _last_line(log: Path) -> str:
    """Return the last line of a run on nothing but a phantom, so that it may be shown."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][:200] if lines else "it said nothing"
