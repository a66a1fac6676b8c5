"""The commands that copy a running hub, and make a hub from such a copy."""

from pathlib import Path
from typing import Annotated, Any

import typer

from federation_hub.accounts.actors import SYSTEM
from federation_hub.accounts.audit import record
from federation_hub.cli.session import Json, Session, show
from federation_hub.db import Database
from federation_hub.migrations.runner import is_current
from silo_node.wire.errors import BadInput

Backup = Annotated[Path, typer.Argument(help="The folder `federation-hub backup` wrote.")]


def backup(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet, or empty; on another disk.")],
    as_json: Json = False,
) -> None:
    """Copy the whole hub while it runs: database, models, boards, settings and keys, with a digest of every file.

    Whoever has the copy has the hub's signing key and its admin's token: keep it as you keep the home folder.

    Example: federation-hub backup /backup/hub-2026-11-22
    """
    from federation_hub.backup.making import make_backup

    hub: Session = context.obj
    made, digest = make_backup(hub.config, folder)
    _note(Database(hub.config.database), "hub.backup", digest, "made")
    facts = {"folder": str(folder), "digest": digest, **_facts(made)}
    text = f"{len(made.files)} files, {made.size / 1e6:.1f} MB in {folder}\nIts manifest is {digest}"
    show(facts, as_json=as_json, text=text)


def restore(
    context: typer.Context,
    folder: Backup,
    database_url: Annotated[
        str | None, typer.Option(help="An empty PostgreSQL database, instead of the one in the backup's settings.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare every file with its digest.")] = False,
    as_json: Json = False,
) -> None:
    """Make a hub from a backup, in a home folder that is not there yet or empty.

    Every file is compared with its digest before the home folder gets its name. Stop the hub the backup is of.

    Example: federation-hub --home ./hub restore /backup/hub-2026-11-22
    """
    from federation_hub.backup import restoring

    hub: Session = context.obj
    if check:
        if database_url is not None:
            raise BadInput("config-invalid", "--check writes nothing, so it needs no database")
        found, digest = restoring.check_backup(folder)
        text = f"Every one of {len(found.files)} files is what was backed up on {found.made:%Y-%m-%d %H:%M} UTC."
    else:
        found, digest = restoring.restore(folder, hub.home.absolute(), database_url=database_url)
        _note(Database(hub.config.database), "hub.restore", digest, "restored")
        text = f"{hub.home} is the hub as it was on {found.made:%Y-%m-%d %H:%M} UTC. Start it with `up`."
    show({"restored": not check, "digest": digest, **_facts(found)}, as_json=as_json, text=text)


def _facts(manifest: Any) -> dict[str, Any]:
    return {**manifest.model_dump(mode="json", exclude={"files"}), "files": len(manifest.files), "size": manifest.size}


def _note(database: Database, action: str, digest: str, after: str) -> None:
    """Write it into the audit trail, where the schema is this release's: neither command migrates anything."""
    try:
        with database.engine.connect() as connection:
            current = is_current(connection)
        if current:
            with database.session() as session:
                record(session, SYSTEM, action, digest, None, after)
    finally:
        database.close()
