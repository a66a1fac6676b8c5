"""What the sub-commands share: the hub they speak to, and the ``--json`` option."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from federation_hub.client.hub import Hub
from federation_hub.client.settings import load_settings, read_token
from silo_node.wire.errors import ConfigError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@dataclass(frozen=True)
class Session:
    """The hub and token file given before the sub-command; what is not given comes from the settings."""

    hub: str | None
    token_file: Path | None

    def connect(self, *, signed_in: bool = True) -> Hub:
        """Return the hub. Raises ``ConfigError`` where no hub is known, or no token where one is needed."""
        settings = load_settings()
        url = self.hub or settings.hub
        token_file = self.token_file or settings.token_file
        if url is None:
            raise ConfigError("config-missing", "no hub is known; run medsilo login --hub URL --token-file FILE")
        if token_file is None and signed_in:
            raise ConfigError("config-missing", "no token is known; run medsilo login --hub URL --token-file FILE")
        return Hub(url, read_token(token_file) if token_file else None)


def session(context: typer.Context) -> Session:
    """Return the session the main callback made."""
    found = context.find_object(Session)
    if found is None:
        raise RuntimeError("the main callback makes the session")
    return found
