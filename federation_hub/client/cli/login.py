"""``medsilo login``: sign in by the browser, or with a token file there is, and remember where the token lies."""

from pathlib import Path
from typing import Annotated

import typer

from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.connection import Connection, checked_url
from federation_hub.client.device_login import begin, keep_token, wait_for_token
from federation_hub.client.hub import Hub
from federation_hub.client.settings import ClientSettings, load_settings, read_token, save_settings
from federation_hub.client.terminal import messages, output, print_json
from silo_node.wire.errors import ConfigError


def login(
    context: typer.Context,
    hub: Annotated[str | None, typer.Option(help="Address of the hub.", envvar="MEDSILO_HUB")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds a token you have already.", envvar="MEDSILO_TOKEN_FILE")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A role the token shall have; all but hub-admin where none is named.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign in: shows a code and an address, and waits until you approve it in a browser.

    The token is kept in a file that only you can read, beside the settings, for 90 days. With `--token-file` nothing is
    approved: that token is checked with the hub, and the file's path remembered.

    Example: `medsilo login --hub https://hub.example.org`
    """
    before = session(context)
    url, file = hub or before.hub or load_settings().hub, token_file or before.token_file
    if url is None:
        raise ConfigError("config-missing", "give --hub")
    file = _approved(url, " ".join(scope or [])) if file is None else file.expanduser().resolve()
    person = Hub(url, read_token(file)).me()
    if file.stat().st_mode & 0o077:
        messages().print(f"[yellow]Others on this machine can read {file}; run chmod 600 on it.[/]")
    saved = save_settings(ClientSettings(hub=url, token_file=file))
    if as_json:
        print_json({"hub": url, "person": person, "settings": str(saved)})
    else:
        output().print(f"Signed in to {url} as {person['name']}. Remembered in {saved}.", soft_wrap=True)


def _approved(url: str, scopes: str) -> Path:
    """Return the file of a token that was approved in a browser."""
    connection = Connection(checked_url(url, secret=True))
    approval = begin(connection, scopes)
    messages().print(f"Open {approval.address} in a browser and type the code {approval.user_code}", soft_wrap=True)
    messages().print(f"or open {approval.complete_address}", soft_wrap=True)
    messages().print("Waiting for your approval ...")
    return keep_token(wait_for_token(connection, approval))
