"""Serving the console with waitress, on 127.0.0.1 and nowhere else."""

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from waitress.server import create_server

from silo_node.console.app import create_app
from silo_node.console.desk import Desk
from silo_node.console.people import People
from silo_node.console.sessions import Sessions
from silo_node.state import Home
from silo_node.wire.errors import ConfigError

ADDRESS = "127.0.0.1"
_THREADS = 4


def serve(home: Home, port: int, announce: Callable[[str], None], ready_file: Path | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; port 0 takes a free one. Raises :class:`ConfigError` where the port is in use."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    hosts: set[str] = set()
    console = create_app(Desk(home, People(home), Sessions(), hosts))
    try:
        server = create_server(console, host=ADDRESS, port=port, threads=_THREADS, ident="medsilo")
    except OSError:
        raise ConfigError("console-port-in-use", f"{ADDRESS}:{port}") from None
    hosts |= host_names(int(server.effective_port))
    url = f"http://{ADDRESS}:{server.effective_port}"
    _end_on_sigterm()
    home.console.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.console_address.write_text(url)
    if ready_file is not None:
        _tell_ready(ready_file, url)
    announce(url)
    try:
        server.run()
    finally:
        home.console_address.unlink(missing_ok=True)
        server.close()


def host_names(port: int) -> set[str]:
    """Return the ``Host`` headers a console on this port answers to; a tunnel may use another name for it."""
    return {f"{ADDRESS}:{port}", f"localhost:{port}"}


def _end_on_sigterm() -> None:
    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)


def _tell_ready(path: Path, url: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    draft.replace(path)
