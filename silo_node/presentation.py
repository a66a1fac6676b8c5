"""How an error is told to the person at the terminal, and the exit status it ends a command with."""

import json

from silo_node.wire.errors import HubUnavailable, MedSiloError, SandboxUnavailable

EXIT_REFUSED = 1
"""Something was refused or failed; the code says what."""

EXIT_USAGE = 2
"""An unknown command or option."""

EXIT_UNREACHABLE = 3
"""No hub answered: trying again later may help."""

EXIT_NO_SANDBOX = 4
"""Tasks cannot be jailed on this machine, so none is run."""

EXIT_INTERRUPTED = 130
"""Stopped by Ctrl-C."""


def exit_status(error: MedSiloError) -> int:
    """Return the exit status an error ends a command with."""
    if isinstance(error, HubUnavailable):
        return EXIT_UNREACHABLE
    return EXIT_NO_SANDBOX if isinstance(error, SandboxUnavailable) else EXIT_REFUSED


def error_text(error: MedSiloError, *, as_json: bool) -> str:
    """Return an error with its code, what it is about, and what to do."""
    if as_json:
        problem = {"code": error.code, "title": error.title, "detail": error.detail, "hint": error.hint}
        return json.dumps(problem, ensure_ascii=False)
    detail = f"{error.detail}\n" if error.detail else ""
    return f"{error.title} [{error.code}]\n{detail}Hint: {error.hint}"
