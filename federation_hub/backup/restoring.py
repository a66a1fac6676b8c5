"""A hub from a backup: every digest is checked before the new home has its name."""

import os
import re
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from federation_hub.backup import postgresql
from federation_hub.backup.files import ask_for_room, copy, whole_or_nothing
from federation_hub.backup.manifest import DUMP, HOME, BackupFile, Manifest, read_manifest
from federation_hub.config import load_config
from federation_hub.migrations.runner import is_known
from silo_node.wire.digests import finish, new_hasher
from silo_node.wire.errors import BadInput, ConfigError, IntegrityError

_BLOCK = 1024 * 1024
_DATABASE_LINE = re.compile(r"^[ \t]*database_url[ \t]*=.*\n?", re.MULTILINE)


def check_backup(folder: Path) -> tuple[Manifest, str]:
    """Hold every file of a backup against its digest; raises ``backup-invalid``, ``config-invalid`` for a newer one."""
    manifest, digest = read_manifest(folder)
    _refuse_newer(manifest)
    for file in manifest.files:
        hasher, size = new_hasher(), 0
        with _opened(folder, file).open("rb", buffering=0) as read:
            while block := read.read(_BLOCK):
                hasher.update(block)
                size += len(block)
        _compare(file, size, finish(hasher))
    return manifest, digest


def restore(folder: Path, home: Path, *, database_url: str | None = None) -> tuple[Manifest, str]:
    """Make the home folder of a hub from a backup. It appears only when it is whole.

    ``database_url`` names an empty PostgreSQL database, by default the one the backup's own settings name. Raises
    what :func:`check_backup` does, ``already-exists`` for a home or a database that holds anything, ``disk-full``.
    """
    manifest, digest = read_manifest(folder)
    _refuse_newer(manifest)
    with whole_or_nothing(home) as draft:
        ask_for_room(draft, manifest.size)
        dump = draft / DUMP
        for file in manifest.files:
            target = dump if file.path == DUMP else draft / Path(file.path).relative_to(HOME)
            _compare(file, *copy(_opened(folder, file), target))
        url = _database_url(manifest, draft, database_url)
        _write_url(draft, url)
        if url is not None:
            postgresql.refuse_filled(make_url(url))
            postgresql.fill(make_url(url), dump)
            dump.unlink()
    return manifest, digest


def _refuse_newer(manifest: Manifest) -> None:
    if not is_known(manifest.schema_revision):
        raise ConfigError("config-invalid", f"the backup was made by a newer release ({manifest.release}); upgrade")


def _opened(folder: Path, file: BackupFile) -> Path:
    path = folder / file.path
    if not path.is_file() or path.is_symlink():
        raise IntegrityError("backup-invalid", f"{path} is missing")
    return path


def _compare(file: BackupFile, size: int, digest: str) -> None:
    if (size, digest) != (file.size, file.digest):
        raise IntegrityError("backup-invalid", f"{file.path} is not the file that was backed up")


def _database_url(manifest: Manifest, draft: Path, given: str | None) -> str | None:
    """Return where the database goes: None is a file in the home folder."""
    if manifest.database == "sqlite":
        if given is not None:
            raise BadInput("config-invalid", "this backup holds a SQLite database, which lies in the home folder")
        return None
    url = given or load_config(draft).database
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError:
        backend = ""
    if backend != "postgresql":
        raise BadInput("config-invalid", "this backup holds a PostgreSQL database; name an empty one (--database-url)")
    return url


def _write_url(draft: Path, url: str | None) -> None:
    """Let the settings name the database that was restored, never the one the backup was made of."""
    path = draft / "hub.toml"
    before = path.read_text("utf-8") if path.exists() else ""
    after = _DATABASE_LINE.sub("", before)
    if url is not None:
        after = f"database_url = {_quoted(url)}\n{after}"
    if after != before:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(after)
    if load_config(draft).database_url != url:
        raise ConfigError("config-invalid", "database_url in hub.toml")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
