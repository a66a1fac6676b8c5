"""Secrets that the service's start hands over: files of systemd's credentials, in no environment and no setting."""

import os
from pathlib import Path

from silo_node.wire.errors import ConfigError

PROXY = "silo-node.proxy"
"""The address of a forward proxy with its name and password."""

_ABSENT = "none"


def credential(name: str) -> str | None:
    """Return a credential, or None where the service has none of this name; raises :class:`ConfigError`."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        value = (Path(folder) / name).read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise ConfigError("config-invalid", f"the credential {name} cannot be read") from None
    return None if value in ("", _ABSENT) else value
