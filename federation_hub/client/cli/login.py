"""``medsilo login``: remember a hub and a token file."""

from pathlib import Path
from typing import Annotated

import typer

from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.hub import Hub
from federation_hub.client.settings import ClientSettings, read_token, save_settings
from federation_hub.client.terminal import messages, output, print_json
from silo_node.wire.errors import ConfigError


def login(
    context: typer.Context,
    hub: Annotated[str | None, typer.Option(help="Address of the hub.", envvar="MEDSILO_HUB")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds your token.", envvar="MEDSILO_TOKEN_FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a token with the hub and remember both for later commands.

    Only the token file's path is remembered, never the token.

    Example: `medsilo login --hub https://hub.example.org --token-file ~/medsilo.token`
    """
    before = session(context)
    url, file = hub or before.hub, token_file or before.token_file
    if url is None or file is None:
        raise ConfigError("config-missing", "give --hub and --token-file")
    file = file.expanduser().resolve()
    person = Hub(url, read_token(file)).me()
    if file.stat().st_mode & 0o077:
        messages().print(f"[yellow]Others on this machine can read {file}; run chmod 600 on it.[/]")
    saved = save_settings(ClientSettings(hub=url, token_file=file))
    if as_json:
        print_json({"hub": url, "person": person, "settings": str(saved)})
    else:
        output().print(f"Signed in to {url} as {person['name']}. Remembered in {saved}.", soft_wrap=True)
