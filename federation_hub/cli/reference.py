"""The command that writes the OpenAPI document, for its committed copy."""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from federation_hub.config import HubConfig


def openapi(
    out: Annotated[Path | None, typer.Option(help="Write here instead of printing.")] = None,
) -> None:
    """Print the OpenAPI document of this release.

    Example: federation-hub openapi --out docs/reference/openapi.json
    """
    text = json.dumps(whole_document(), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


def whole_document() -> dict[str, Any]:
    """Return the document of an application made in a folder of its own, since nothing of a hub's state is in it."""
    from federation_hub.app import build_services, create_app
    from federation_hub.openapi import document

    with tempfile.TemporaryDirectory() as folder:
        services = build_services(HubConfig(home=Path(folder)))
        try:
            return document(create_app(services.config, services=services))
        finally:
            services.database.close()
