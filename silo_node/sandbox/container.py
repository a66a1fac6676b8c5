"""The second driver: a jail made by podman or docker, from an image that is named by its digest.

For sites whose machines allow containers and not bubblewrap, and for whatever brings its own libraries. The image must
have a Python with the libraries of the ``silo`` extra; the packages ``pipelines`` and ``benchmarks`` are shown to it as
in the first driver, so the code that judges and scores is always this node's own. It is never pulled: a person loads
it. The same probes try it at each start of a node.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from silo_node.sandbox.bubblewrap import ADDRESS_SPACE_SLACK_MB, CODE, code, environment
from silo_node.sandbox.jail import Jail
from silo_node.sandbox.limits import MEGABYTE, Bind, Limits
from silo_node.sandbox.seccomp import container_profile
from silo_node.wire.errors import SandboxUnavailable, WorkFailed

Engine = Literal["podman", "docker"]
_END_SECONDS = 20
_OF_THE_KIT = frozenset({"PATH", "PYTHONPATH"})


@dataclass(frozen=True)
class Container:
    """An engine and the image its jails are made from."""

    engine: str
    """The engine's program."""

    image: str
    """``name@sha256:`` and 64 hexadecimal digits."""

    keep_id: bool = False
    """podman without root: the user inside is the user outside."""

    jailed: bool = True
    kit: bool = True
    """Whether the kit's own packages are shown inside. A model with code gets its own image's and nothing of ours."""

    def of_model(self, image: str) -> "Container":
        """Return the same engine with the image of a model of tier 3."""
        return replace(self, image=image, kit=False)

    def has_image(self) -> bool:
        """Tell whether the image is loaded here."""
        command = [self.engine, "image", "inspect", "--format", "{{.Id}}", self.image]
        return subprocess.run(command, capture_output=True, timeout=_END_SECONDS, check=False).returncode == 0

    @classmethod
    def find(cls, engine: Engine, image: str | None) -> "Container":
        """Return a driver that was tried; raises :class:`SandboxUnavailable` with what is missing."""
        program = shutil.which(engine, path="/usr/bin:/bin:/usr/local/bin")
        if program is None:
            raise SandboxUnavailable("sandbox-unavailable", f"{engine} is not installed")
        if image is None:
            raise SandboxUnavailable("sandbox-unavailable", "sandbox.image names no image")
        driver = cls(program, image, keep_id=engine == "podman" and os.geteuid() != 0)
        refusal = driver.refusal()
        if refusal is not None:
            raise SandboxUnavailable("sandbox-unavailable", f"{engine} cannot start the image: {refusal}")
        return driver

    def start(self, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, *, log: Path | None = None) -> Jail:
        """Start a program in a new container; see :meth:`silo_node.sandbox.Sandbox.start`."""
        for bind in binds:
            if not bind.source.exists():
                raise WorkFailed("work-failed", f"{bind.source.name} is not there to be shown to the jail")
        name, profile = f"medsilo-{secrets.token_hex(8)}", _profile()
        process = subprocess.Popen(
            self.command(name, argv, binds, limits, profile),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        return Jail(process, limits, log, Running(self.engine, name, profile))

    def command(
        self, name: str, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, profile: Path | None = None
    ) -> list[str]:
        """Return the whole command line of the engine; ``profile`` is the file of the system calls it refuses."""
        memory, scratch = limits.memory_mb * MEGABYTE, limits.scratch_mb * MEGABYTE
        line = [self.engine, "run", "--rm", "--interactive", "--name", name, "--pull", "never", "--log-driver", "none"]
        line += ["--network", "none", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
        line += ["--security-opt", f"seccomp={profile}"] if profile is not None else []
        line += ["--ipc", "private", "--hostname", "jail", "--user", f"{os.getuid()}:{os.getgid()}"]
        line += ["--userns", "keep-id"] if self.keep_id else []
        # Threads count here, too; what a task needs of them is far below the limit of processes.
        line += ["--pids-limit", str(limits.processes), "--memory", str(memory), "--memory-swap", str(memory)]
        line += ["--cpus", str(limits.threads)]
        most = {
            "core": 0,
            "data": (limits.memory_mb + ADDRESS_SPACE_SLACK_MB) * MEGABYTE,
            "nofile": limits.open_files,
            "fsize": limits.file_mb * MEGABYTE,
            "nproc": 4096,
        }
        for limit, value in most.items():
            line += ["--ulimit", f"{limit}={value}:{value}"]
        line += ["--tmpfs", f"/tmp:rw,noexec,nosuid,size={scratch}", "--workdir", "/tmp"]  # noqa: S108
        for device in limits.devices:
            line += ["--device", device]
        for bind in [*(code() if self.kit else ()), *binds]:
            line += ["--volume", f"{bind.source.resolve()}:{bind.target}:{'rw' if bind.writable else 'ro'}"]
        for variable, setting in environment(limits, CODE).items():
            if self.kit or variable not in _OF_THE_KIT:
                line += ["--env", f"{variable}={setting}"]
        program = ["python3", *argv[1:]] if argv[0] == sys.executable else list(argv)
        return [*line, "--entrypoint", program[0], self.image, *program[1:]]

    def refusal(self) -> str | None:
        """Try to start a program; return what the engine says where it cannot."""
        command = self.command(f"medsilo-{secrets.token_hex(8)}", [sys.executable, "-V"], [], Limits())
        try:
            tried = subprocess.run(command, capture_output=True, timeout=60, cwd="/")
        except (OSError, subprocess.TimeoutExpired) as error:
            return type(error).__name__
        said = tried.stderr.decode(errors="replace").strip()[-200:]
        return None if tried.returncode == 0 else said or "no reason given"


@dataclass(frozen=True)
class Running:
    """A container by its name: the engine's client may be killed while its container goes on."""

    engine: str
    name: str
    profile: Path | None

    def killed_for_memory(self) -> bool:
        """Tell whether it was ended for its memory; the engine's exit status says so by itself."""
        return False

    def remove(self) -> None:
        """End the container with everything in it; one that is gone is well."""
        at_once = [] if self.engine.endswith("docker") else ["--time", "0"]
        command = [self.engine, "rm", "--force", *at_once, self.name]
        subprocess.run(command, capture_output=True, timeout=_END_SECONDS, check=False)
        if self.profile is not None:
            self.profile.unlink(missing_ok=True)


def _profile() -> Path | None:
    """Write the refused system calls to a file the engine reads; None on a machine they are not written for."""
    profile = container_profile()
    if profile is None:
        return None
    with tempfile.NamedTemporaryFile("w", prefix="medsilo-", suffix=".json", delete=False) as file:
        json.dump(profile, file)
    return Path(file.name)
