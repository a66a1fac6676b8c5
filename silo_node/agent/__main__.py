"""The node's process: ``python -m silo_node.agent HOME [READY_FILE]``, which is what ``silo-node start`` becomes."""

import logging
import sys
from pathlib import Path

from silo_node.agent.loop import serve
from silo_node.agent.node import Node
from silo_node.config import NodeConfig, load_config
from silo_node.identity import load_identity
from silo_node.logging import RotatedFile, start_logging
from silo_node.presentation import error_text, exit_status
from silo_node.sandbox import Sandbox
from silo_node.sandbox.grant import containers_of, sandbox_of
from silo_node.sandbox.probes import refuse_escape, run
from silo_node.sandbox.unjailed import WARNING
from silo_node.state import Home
from silo_node.wire.errors import MedSiloError


def main() -> int:
    """Run a node; a coded error ends it with its own message and exit status."""
    # Only ``silo-node start`` calls it, so it parses nothing: a parser's library would stay in memory for weeks.
    home, *ready_file = (Path(word) for word in sys.argv[1:])
    try:
        _run(Home(home).create(), ready_file[0] if ready_file else None)
    except MedSiloError as error:
        sys.stderr.write(error_text(error, as_json=False) + "\n")
        return exit_status(error)
    return 0


def _run(home: Home, ready_file: Path | None) -> None:
    config = load_config(home)
    start_logging(config.log_level, _log_file(config))
    sandbox = sandbox_of(config)
    try_sandbox(home, sandbox)
    containers = containers_of(config, sandbox)
    if containers is not None and containers is not sandbox:
        try_sandbox(home, containers)
    while serve(Node(home, config, load_identity(home), sandbox, containers), ready_file):
        pass


def _log_file(config: NodeConfig) -> RotatedFile | None:
    return RotatedFile(config.log_file, config.log_file_mb, config.log_files_kept) if config.log_file else None


def try_sandbox(home: Home, sandbox: Sandbox) -> None:
    """Let a program try to get out of the jail; raises :class:`SandboxUnavailable` ``sandbox-escape`` if it does."""
    if not sandbox.jailed:
        logging.getLogger("silo_node.sandbox").warning(WARNING)
        return
    refuse_escape(run(sandbox, hidden=[home.key_file, home.catalogue, home.raw]))


if __name__ == "__main__":
    sys.exit(main())
