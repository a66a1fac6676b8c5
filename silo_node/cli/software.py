"""``silo-node sbom``: what is installed, and whether it is what it was."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from silo_node.cli.session import Json, show
from silo_node.wire.errors import BadInput, IntegrityError

_SHOWN = 20


def sbom(
    out: Annotated[Path | None, typer.Argument(help="Write the bill here.")] = None,
    against: Annotated[Path | None, typer.Option(help="A bill of an earlier day: whatever changed is a no.")] = None,
    files: Annotated[
        bool, typer.Option("--files", help="Hold every installed file against its SHA-256; takes a minute.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List every package this software consists of, as a CycloneDX document, and find what changed unasked.

    Write one after each installation you meant to make, and compare from cron. It serves a hub's machine as well.

    Example: silo-node sbom --against sbom.json --files
    """
    from silo_node.software import bill_of_materials, changed_files, differences, installed

    found = installed()
    bill = bill_of_materials(found)
    try:
        changed = [] if against is None else differences(_read(against), bill)
    except ValueError as error:
        raise BadInput("config-invalid", f"{against}: {error}") from error
    changed += changed_files(found) if files else []
    if changed:
        more = f"\nand {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise IntegrityError("software-changed", "\n".join(changed[:_SHOWN]) + more)
    text = json.dumps(bill, indent=2) + "\n"
    if out is not None:
        out.write_text(text, encoding="utf-8")
    elif against is None and not files:
        typer.echo(text, nl=False)
        return
    show({"packages": len(found), "changed": changed}, as_json=as_json, text=f"{len(found)} packages, nothing changed.")


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BadInput("file-missing", str(path)) from error
    return found
