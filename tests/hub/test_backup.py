"""A copy of a hub that goes on working: whole or not there, held against its digests, and a hub again."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import OperationalError
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import requests
from sqlalchemy import select
from typer.testing import CliRunner

from federation_hub.accounts.service import organisation_named
from federation_hub.accounts.tables import AuditEntry
from federation_hub.backup.files import copy
from federation_hub.backup.making import make_backup
from federation_hub.backup.manifest import MANIFEST
from federation_hub.backup.postgresql import program
from federation_hub.backup.restoring import check_backup, restore
from federation_hub.backup.sqlite import frozen
from federation_hub.cli import app
from federation_hub.config import HubConfig
from federation_hub.db import Database
from federation_hub.keys import load_or_make_key
from federation_hub.services import Services
from federation_hub.storage.blobs import BlobStore
from federation_hub.storage.tables import Upload
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import BadInput, ConfigError, IntegrityError, MedSiloError
from tests.conftest import start_hub, stop_hub
from tests.hub.running import START, Federation, running_hub
from tests.sites import Arrays

_BACKUP = """
import sys
from pathlib import Path
from federation_hub.backup.making import make_backup
from federation_hub.config import HubConfig
from silo_node.wire.errors import MedSiloError
try:
    make_backup(HubConfig(home=Path(sys.argv[1])), Path(sys.argv[2]))
except MedSiloError as error:
    sys.exit(str(error))
"""


def making(home: Path, folder: Path, *, limit: str = "unlimited") -> "subprocess.Popen[bytes]":
    """Start a backup in a process of its own, whose files may be ``limit`` KB long."""
    called = [sys.executable, "-c", _BACKUP, str(home), str(folder)]
    shell = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash"]
    return subprocess.Popen([*shell, *called], stderr=subprocess.PIPE)


def files_of(folder: Path) -> dict[str, str]:
    """Return every file of a folder with its digest."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest_bytes(path.read_bytes()) for path in found}


@pytest.fixture
def made(hub_services: Services, tmp_path: Path) -> Path:
    """A backup of a fresh hub with one blob."""
    hub_services.blobs.put_bytes(b"weights")
    make_backup(hub_services.config, tmp_path / "backup")
    return tmp_path / "backup"


@pytest.mark.slow
def test_a_hub_in_the_middle_of_a_study_goes_on_from_its_backup(showcase_home: Path, tmp_path: Path) -> None:
    """Boards have the same bytes, the audit trail is as it was, silos trust it and finish their round."""
    home = tmp_path / "hub"
    shutil.copytree(showcase_home, home)
    board = "/benchmarks/chest_phantom/leaderboard"
    with running_hub(HubConfig(home=home, lease_seconds=30)) as running:
        federation = Federation(running, tmp_path)
        study = federation.running(rounds=2)
        first, door = federation.sites[0], federation.doors[0]
        first.send(door, first.claim(door), trained(START, 1))
        before = requests.get(f"{running.url}/api/v1{board}", timeout=10).content
        called = [sys.executable, "-m", "federation_hub.cli", "--home", str(home), "backup", str(tmp_path / "copy")]
        told = subprocess.run([*called, "--json"], check=True, capture_output=True, timeout=60)
        assert json.loads(told.stdout)["database"] == "sqlite"
        trail = audit(running.services.database)
        federation.close()
    shutil.rmtree(home)
    restored = CliRunner().invoke(app, ["--home", str(home), "restore", str(tmp_path / "copy")], catch_exceptions=False)
    assert restored.exit_code == 0, restored.output
    hub = start_hub(home)
    stopping = Event()
    workers = [Thread(target=site.run, args=(hub.url, trained, stopping.is_set)) for site in federation.sites]
    try:
        assert requests.get(f"{hub.url}/readyz", timeout=10).status_code == 200
        assert requests.get(f"{hub.url}/api/v1{board}", timeout=10).content == before
        for worker in workers:
            worker.start()
        federation.researcher.url = hub.url
        researcher = federation.researcher
        assert researcher.wait_for(study, "completed", "failed")["state"] == "completed"
        kept = Database(f"sqlite:///{home / 'hub.sqlite'}")
        after = audit(kept)
        kept.close()
        assert [line for line in trail if line not in after] == [line for line in trail if line[1] == "hub.backup"]
        assert "hub.restore" in [action for _, action, _ in after]
    finally:
        stopping.set()
        for worker in workers:
            worker.join(30)
        stop_hub(hub)


def trained(weights: Arrays, number: int) -> Arrays:
    return {name: np.full_like(values, number) for name, values in weights.items()}


def audit(database: Database) -> list[tuple[int, str, str]]:
    with database.reading() as session:
        rows = session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        return [(row.id, row.action, row.subject) for row in rows]


def test_what_the_database_names_is_in_the_backup_whatever_the_hub_deletes_meanwhile(
    hub_services: Services, tmp_path: Path
) -> None:
    """Each turn stores a blob, says so, takes it back and deletes it: no copy of the database names what is missing."""
    turning = Event()
    worker = Thread(target=turn_over, args=(hub_services, turning))
    worker.start()
    try:
        for number in range(3):
            make_backup(hub_services.config, tmp_path / f"{number}")
    finally:
        turning.set()
        worker.join()
    named = 0
    for number in range(3):
        home = tmp_path / f"{number}" / "home"
        blobs, database = BlobStore(home / "blobs"), Database(f"sqlite:///{home / 'hub.sqlite'}")
        with database.reading() as session:
            rows = session.scalars(select(Upload).where(Upload.state == "complete")).all()
        database.close()
        assert [row.digest for row in rows if not blobs.has(row.digest)] == []
        named += len(rows)
    assert named


def test_writers_wait_until_every_blob_has_its_second_name(hub_services: Services, tmp_path: Path) -> None:
    """What they write then is not in the copy, which is of one moment for the database and the blobs."""
    config, database = hub_services.config, hub_services.database
    before = audit(database)
    with frozen(config.home / "hub.sqlite", config.engine_path) as (files, writers):
        other = sqlite3.connect(config.home / "hub.sqlite", timeout=0)
        with closing(other), pytest.raises(OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        writers.close()
        organisation_of(hub_services)
        files.copy_to(tmp_path)
    copied = Database(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    assert audit(copied) == before != audit(database)
    copied.close()


def organisation_of(services: Services) -> None:
    """Write something that is in the audit trail."""
    with services.database.session() as session:
        organisation_named(session, "University")


def turn_over(services: Services, stopping: Event) -> None:
    """Store a blob, name it, name the next one, and delete the one before, over and over."""
    number, before = 0, ""
    while not stopping.is_set():
        number += 1
        digest = services.blobs.put_bytes(str(number).encode())
        with services.database.session() as session:
            for row in session.scalars(select(Upload).where(Upload.digest == before)):
                row.state = "failed"
            owner: dict[str, Any] = {"owner_kind": "person", "owner_id": "per-1", "purpose": "model"}
            session.add(Upload(digest=digest, size=1, state="complete", **owner))
        if before:
            services.blobs.delete(before)
        before = digest


def test_only_the_owner_may_read_any_of_it(made: Path) -> None:
    """The hub's key is among the files."""
    files = [path for path in made.rglob("*") if path.is_file()]
    assert made / "home" / "key.pem" in files
    assert [path for path in (made, *files) if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("file", ["home/hub.sqlite", "home/key.pem", MANIFEST])
def test_one_changed_byte_is_found_before_anything_is_put_in_place(made: Path, tmp_path: Path, file: str) -> None:
    """And so is a file that is cut short, or gone."""
    whole = (made / file).read_bytes()
    for changed in (b"\x01" + whole[1:], whole[:-5], None):
        (made / file).unlink()
        if changed is not None:
            (made / file).write_bytes(changed)
        for attempt in (lambda: check_backup(made), lambda: restore(made, tmp_path / "again")):
            with pytest.raises(IntegrityError, match="backup-invalid"):
                attempt()
        (made / file).write_bytes(whole)
    assert not (tmp_path / "again").exists()
    assert check_backup(made)[0].hub == "MedSilo hub"


def changed_manifest(made: Path, **changes: Any) -> None:
    """Write another manifest in place of a backup's."""
    kept = json.loads((made / MANIFEST).read_text())
    (made / MANIFEST).write_text(json.dumps(kept | changes))


def test_a_backup_of_a_newer_release_is_refused(made: Path, tmp_path: Path) -> None:
    """An older hub would not understand what it reads."""
    changed_manifest(made, schema_revision="ffff")
    with pytest.raises(ConfigError, match="newer release"):
        restore(made, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "home/../../evil", "home/.ssh/keys", "home"])
def test_a_manifest_names_nothing_outside_the_home_folder(made: Path, tmp_path: Path, path: str) -> None:
    """Whatever somebody has written into it."""
    changed_manifest(made, files=[{"path": path, "size": 0, "digest": digest_bytes(b"")}])
    with pytest.raises(IntegrityError, match="backup-invalid"):
        restore(made, tmp_path / "again")


def test_neither_command_touches_what_is_there_already(made: Path, tmp_path: Path, hub_config: HubConfig) -> None:
    """A backup overwrites no backup, and a hub no hub; nor is a backup put inside the home it is of."""
    before = files_of(made), files_of(hub_config.home)
    with pytest.raises(BadInput, match="not empty"):
        make_backup(hub_config, made)
    with pytest.raises(BadInput, match="not empty"):
        restore(made, hub_config.home)
    with pytest.raises(BadInput, match="home folder itself"):
        make_backup(hub_config, hub_config.home / "backup")
    with pytest.raises(BadInput, match="there is no hub"):
        make_backup(HubConfig(home=tmp_path / "nowhere"), tmp_path / "other")
    assert (files_of(made), files_of(hub_config.home)) == before
    assert not (tmp_path / "nowhere").exists()


def test_a_restored_hub_never_opens_the_database_it_was_copied_from(migrated_home: Path, tmp_path: Path) -> None:
    """Settings that name a file elsewhere would let two hubs write into one."""
    elsewhere = tmp_path / "elsewhere.sqlite"
    shutil.copytree(migrated_home, tmp_path / "hub")
    load_or_make_key(tmp_path / "hub" / "key.pem")
    (tmp_path / "hub" / "hub.sqlite").rename(elsewhere)
    settings = f'name = "Mine"\ndatabase_url = "sqlite:///{elsewhere}"\nthreads = 2\n'
    (tmp_path / "hub" / "hub.toml").write_text(settings)
    for command in (["hub", "backup", "copy"], ["new", "restore", "copy"]):
        called = ["--home", str(tmp_path / command[0]), command[1], str(tmp_path / command[2])]
        CliRunner().invoke(app, called, catch_exceptions=False)
    assert (tmp_path / "new" / "hub.toml").read_text() == 'name = "Mine"\nthreads = 2\n'
    assert (tmp_path / "new" / "hub.sqlite").exists()


def test_a_damaged_blob_is_named_and_no_backup_is_made_of_it(hub_services: Services, tmp_path: Path) -> None:
    """A disk that fails is noticed at the latest here."""
    path = hub_services.blobs.path(hub_services.blobs.put_bytes(b"weights"))
    path.write_bytes(b"weighty")
    with pytest.raises(IntegrityError, match=path.name):
        make_backup(hub_services.config, tmp_path / "backup")
    assert [found.name for found in tmp_path.iterdir() if "backup" in found.name] == []
    assert not (hub_services.blobs.scratch / "backup").exists()


def test_a_missing_program_of_postgresql_has_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub itself needs none of them."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MedSiloError, match="backup-tool-missing"):
        program("pg_dump")


@pytest.mark.slow
def test_a_backup_that_is_killed_or_out_of_room_leaves_nothing_under_its_name(
    hub_services: Services, tmp_path: Path
) -> None:
    """The next attempt throws the rest away; a full disk is told by its code."""
    hub_services.blobs.put_bytes(os.urandom(64 * 1024 * 1024))
    home, folder, part = hub_services.config.home, tmp_path / "copy", tmp_path / ".copy.part"
    process = making(home, folder)
    for _ in until(lambda: list(part.glob("home/blobs/blake3/??/*"))):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not folder.exists()
    assert not (part / MANIFEST).exists()
    full = making(home, folder, limit="4096")
    assert b"[disk-full]" in full.communicate()[1]
    assert not folder.exists()
    assert not part.exists()
    make_backup(hub_services.config, folder)
    assert check_backup(folder)[0].size > 64 * 1024 * 1024


def until(reached: Any, seconds: float = 60) -> Iterator[None]:
    """Yield again and again until something is so."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        yield
        time.sleep(0.001)


def test_a_copy_of_a_file_tells_its_size_and_digest(tmp_path: Path) -> None:
    """As it went by, over the end of a block."""
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert copy(tmp_path / "a", tmp_path / "b") == (len(data), digest_bytes(data))
    assert (tmp_path / "b").read_bytes() == data
