"""Serving the application with waitress, in constant memory whatever is uploaded or downloaded.

Measured with four silos moving 400 MB each on two cores: a request's body beyond 512 KB waits in one of a few buffers
(see ``channels``), or in an unnamed temporary file when all are in use (in the page cache, gone before it reaches a
disk), so that memory does not grow with the number of silos; receiving 256 KB at a time instead of 8 KB saves a fifth
of the time.
"""

import gc
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import structlog
from flask import Flask
from waitress.server import BaseWSGIServer, create_server

from federation_hub.channels import BodyPool, channel_class
from federation_hub.config import HubConfig

_RECEIVE_BYTES = 256 * 1024
_KEPT_IN_MEMORY = 512 * 1024
_CONNECTIONS = 1000
_BODY_BUFFERS = 8
_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while another waits. The connections are moved by one thread that waits
for it after every megabyte; Python's five milliseconds would let each answer being made hold up every transfer."""
_log = structlog.get_logger("federation_hub")


def serve(
    app: Flask,
    config: HubConfig,
    *,
    host: str,
    port: int,
    ready_file: Path | None = None,
    announce: Callable[[str], None] = lambda url: None,
) -> None:
    """Listen until SIGTERM or SIGINT, then finish the requests being answered. Port 0 takes a free one."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    keep_for_good()
    tempfile.tempdir = str(config.blobs_path / "scratch")
    BaseWSGIServer.channel_class = channel_class(BodyPool(buffers=_BODY_BUFFERS, size=config.chunk_bytes))
    server = create_server(
        app,
        host=host,
        port=port,
        threads=config.threads,
        recv_bytes=_RECEIVE_BYTES,
        inbuf_overflow=_KEPT_IN_MEMORY,
        max_request_body_size=max(config.chunk_bytes, config.maximum_message_bytes) + 1,
        connection_limit=_CONNECTIONS,
        asyncore_use_poll=True,
        ident="medsilo",
        clear_untrusted_proxy_headers=True,
        **_behind(config.trusted_proxy),
    )
    stop_on_signals()
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{server.effective_port}"
    if ready_file is not None:
        tell_ready(ready_file, {"url": url, "pid": os.getpid()})
    _log.info("listening", url=url, pid=os.getpid())
    announce(url)
    server.run()
    server.close()
    _log.info("stopped", pid=os.getpid())


def keep_for_good() -> None:
    """Tell the garbage collector that what is there now stays: modules, routes and templates, 140,000 objects.

    Reading a large board makes as many new ones, and every full collection meanwhile would look through the old ones
    too: the page of 1,000 models at 100 hospitals took half as long again.
    """
    gc.freeze()


def _behind(proxy: str | None) -> dict[str, object]:
    """Return what waitress must know of a reverse proxy: whose word about the caller's address is believed."""
    if proxy is None:
        return {}
    return {"trusted_proxy": proxy, "trusted_proxy_headers": {"x-forwarded-for"}, "trusted_proxy_count": 1}


def stop_on_signals() -> None:
    """End the process by ``SystemExit`` when it is asked to, so that everything is closed in order."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def tell_ready(path: Path, facts: dict[str, object]) -> None:
    """Write a file that appears whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    os.replace(draft, path)
