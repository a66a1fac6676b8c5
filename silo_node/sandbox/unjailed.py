"""The development override: the same interface, and no jail at all.

Only ``development_no_sandbox = true`` in ``silo.toml`` leads here, and every command and page then says so.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from silo_node.sandbox.bubblewrap import code, environment, limited
from silo_node.sandbox.jail import Jail
from silo_node.sandbox.limits import Bind, Limits

WARNING = "DEVELOPMENT: tasks run without a sandbox (development_no_sandbox = true). Never do this with patients' data."


@dataclass(frozen=True)
class Unjailed:
    """Starts programs as they are. The host's paths stand where a jail would show its own."""

    jailed: bool = False

    def start(self, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, *, log: Path | None = None) -> Jail:
        """Start a program without any jail; only limits of time, memory and file size are kept."""
        path = ":".join(dict.fromkeys(str(bind.source.parent) for bind in code()))
        prlimit = shutil.which("prlimit")
        process = subprocess.Popen(
            [*(limited(prlimit, limits) if prlimit else []), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment(limits, path)),
            cwd="/tmp",  # noqa: S108
            start_new_session=True,
        )
        return Jail(process, limits, log)
