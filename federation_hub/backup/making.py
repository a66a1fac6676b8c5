"""Making a backup of a hub that runs: its database at one moment, with every blob of that moment.

For that moment the writers wait, while each blob gets a second name in the store: from then on it can be copied at
leisure, also where the hub deletes it meanwhile. On the way every blob is held against its address.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import make_url

from federation_hub.backup import postgresql, sqlite
from federation_hub.backup.files import alone, ask_for_room, copy, open_private, whole_or_nothing
from federation_hub.backup.manifest import DUMP, HOME, MANIFEST, BackupFile, Manifest
from federation_hub.config import HubConfig
from federation_hub.db import Database, now
from federation_hub.keys import load_or_make_key
from federation_hub.migrations.runner import present_revision
from silo_node import __version__
from silo_node.wire.digests import digest_bytes, digest_file
from silo_node.wire.envelope import public_key_text
from silo_node.wire.errors import BadInput, IntegrityError

_SETTINGS = ("hub.toml", "key.pem", "admin-token", "oidc-secret")


def make_backup(config: HubConfig, folder: Path) -> tuple[Manifest, str]:
    """Write a backup of a hub into ``folder``, which must be new or empty; return its manifest and that one's digest.

    Raises ``file-missing`` where there is no hub, ``already-exists``, ``state-locked``, ``disk-full``,
    ``digest-mismatch`` for a blob that is not what its address says, and what PostgreSQL's programs refuse.
    """
    revision = _revision(config)
    if folder.resolve().is_relative_to(config.home):
        raise BadInput("config-invalid", f"{folder} is in the home folder itself")
    with whole_or_nothing(folder) as draft:
        with _pinned(config, draft) as pins:
            size = sum(pin.stat().st_size for pin in pins.iterdir())
            ask_for_room(draft, size)
            for pin in sorted(pins.iterdir()):
                _copy_blob(pin, draft / HOME)
        manifest = _manifest(config, draft, revision)
        data = manifest.model_dump_json(indent=1).encode() + b"\n"
        with open_private(draft / MANIFEST) as file:
            os.write(file, data)
    return manifest, digest_bytes(data)


@contextmanager
def _pinned(config: HubConfig, draft: Path) -> Iterator[Path]:
    """Copy databases and settings, and give a folder with a name for every blob of the same moment."""
    home, store = draft / HOME, config.blobs_path
    home.mkdir(mode=0o700)
    pins = store / "scratch" / "backup"
    with alone(config.home / "backup.lock"), ExitStack() as stack:
        # The names a killed backup left go, so that what the hub deletes frees its room again.
        shutil.rmtree(pins, ignore_errors=True)
        pins.mkdir(parents=True, mode=0o700)
        stack.callback(shutil.rmtree, pins, ignore_errors=True)
        # Most blobs are pinned before anybody has to wait.
        _pin(store, pins)
        _copy_database(config, pins, draft)
        yield pins


def _copy_database(config: HubConfig, pins: Path, draft: Path) -> None:
    url = make_url(config.database)
    if url.get_backend_name() == "sqlite":
        with sqlite.frozen(Path(str(url.database)), config.engine_path) as (files, writers):
            _pin_rest(config, pins, draft / HOME, writers)
            files.copy_to(draft / HOME)
    else:
        with postgresql.frozen(url) as (server, writers):
            _pin_rest(config, pins, draft / HOME, writers)
            server.copy_to(draft / DUMP)


def _pin_rest(config: HubConfig, pins: Path, home: Path, writers: ExitStack) -> None:
    _pin(config.blobs_path, pins)
    for name in _SETTINGS:
        with suppress(FileNotFoundError):
            copy(config.home / name, home / name)
    for spool in sorted((config.home / "intake").glob("*.jsonl")):
        with suppress(FileNotFoundError):
            copy(spool, home / "intake" / spool.name)
    writers.close()


def _pin(store: Path, pins: Path) -> None:
    for path in (store / "blake3").glob("??/*"):
        with suppress(FileExistsError, FileNotFoundError):
            os.link(path, pins / path.name)


def _copy_blob(pin: Path, home: Path) -> None:
    _, digest = copy(pin, home / "blobs" / "blake3" / pin.name[:2] / pin.name)
    if digest != f"blake3:{pin.name}":
        raise IntegrityError(
            "digest-mismatch", f"the hub's blob {pin.name} is damaged; the disk may be failing. Move it away first"
        )


def _manifest(config: HubConfig, draft: Path, revision: str) -> Manifest:
    files = []
    for path in sorted(path for path in draft.rglob("*") if path.is_file()):
        name = path.relative_to(draft).as_posix()
        # A blob was hashed while it was copied, and its name is its digest.
        digest = f"blake3:{path.name}" if path.parent.parent.name == "blake3" else digest_file(path)
        files.append(BackupFile(path=name, size=path.stat().st_size, digest=digest))
    return Manifest(
        made=now(),
        release=__version__,
        schema_revision=revision,
        database="postgresql" if (draft / DUMP).exists() else "sqlite",
        hub=config.name,
        public_key=public_key_text(load_or_make_key(draft / HOME / "key.pem").public_key()),
        files=tuple(files),
    )


def _revision(config: HubConfig) -> str:
    """Return the database's schema as it is: a backup comes before a migration, and makes nothing that is missing."""
    url = make_url(config.database)
    if not config.key_path.exists() or (url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()):
        raise BadInput("file-missing", f"there is no hub in {config.home}")
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            revision = present_revision(connection)
    finally:
        database.close()
    if revision is None:
        raise BadInput("file-missing", f"there is no hub in {config.home}")
    return revision
