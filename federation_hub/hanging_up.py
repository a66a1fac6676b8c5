"""Asking a client to call again later rather than to hold its connection meanwhile.

The server looks at every open connection whenever anything happens on one of them. A thousand silos that keep theirs
for the next question, half a minute away, would cost each answer more than answering takes, and leave no connection
for anybody else. A WSGI application may not send ``Connection: close`` itself, so it leaves word for the server.
"""

from typing import Any

from flask import request

_KEY = "medsilo.hang_up"


def hang_up() -> None:
    """Let the connection of this request end with its answer."""
    request.environ[_KEY] = True


def hangs_up(environ: dict[str, Any] | None) -> bool:
    """Tell whether that was asked for."""
    return environ is not None and _KEY in environ
