"""The command that writes the public site as files."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from federation_hub.cli.session import Json, Session, show


def export_static(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet, or empty.")],
    as_json: Json = False,
) -> None:
    """Write the whole public site as files that open without a hub: pages, snapshots, their inputs, CSV and JSON.

    Links are relative, so the folder can lie anywhere. What a hospital or a person has not made public is not in it.

    Example: federation-hub export-static ./site
    """
    from federation_hub.export.site import export_site

    hub: Session = context.obj
    with hub.services() as services:
        made = export_site(services, folder)
    text = f"{made.pages} pages, {made.files} files, {made.size / 1e6:.1f} MB. Open {folder / 'index.html'}"
    show(asdict(made), as_json=as_json, text=text)
