"""An intake that is killed in the middle and run again loses nothing and doubles nothing."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from silo_node.catalogue import Catalogue
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.store import RawStore, exclusive
from silo_node.intake.table_source import TableSource
from silo_node.state import Home
from silo_node.wire.errors import MedSiloError
from tests.silo.sources import npz_site

PROGRAM = """
import sys
from pathlib import Path
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.state import Home
home, table = Path(sys.argv[1]), Path(sys.argv[2])
take_in(Home(home), TableSource(table, table.parent, collection="default"), IntakeRules(), progress=print)
"""
CASES = 1200


def start(home: Home, table: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(home.path), str(table)], stdout=subprocess.PIPE, text=True, env=environment
    )


def kill_after(process: subprocess.Popen[str], items: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if int(line.split()[0]) >= items:
            break
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def test_killed_at_any_point_and_run_again_every_case_is_there_once(tmp_path: Path) -> None:
    table, home = npz_site(tmp_path / "site", CASES), Home(tmp_path / "silo")
    for items in (3, 400, 700):
        kill_after(start(home, table), items)
        with Catalogue(home.catalogue) as catalogue:
            booked = {row.case_id for row in catalogue.cases()}
        assert booked <= {folder.name for folder in home.raw.iterdir()}
    assert 500 < len(booked) < CASES
    report = take_in(home, TableSource(table, table.parent, collection="default"), IntakeRules())
    assert report.unchanged == len(booked)
    assert report.added == CASES - len(booked)
    folders = list(home.raw.iterdir())
    assert len(folders) == CASES
    assert all((folder / "case.json").exists() and (folder / "image.safetensors").exists() for folder in folders)
    assert list((home.private / "incoming").iterdir()) == []
    with Catalogue(home.catalogue) as catalogue:
        assert {row.case_id for row in catalogue.cases()} == {folder.name for folder in folders}


def test_a_second_intake_is_refused_while_one_runs(tmp_path: Path) -> None:
    table, home = npz_site(tmp_path / "site", 2), Home(tmp_path / "silo").create()
    with exclusive(home), pytest.raises(MedSiloError) as refusal:
        take_in(home, TableSource(table, table.parent, collection="default"), IntakeRules())
    assert refusal.value.code == "state-locked"
    assert take_in(home, TableSource(table, table.parent, collection="default"), IntakeRules()).added == 2


def test_a_replacement_that_was_cut_short_gives_the_old_case_back(tmp_path: Path) -> None:
    home = Home(tmp_path / "silo").create()
    store = RawStore(home)
    store.add("abc", {"case.json": b"old"})
    store.publish()
    store.add("abc", {"case.json": b"new"})
    # The process dies between the two renames of publish().
    os.rename(home.raw / "abc", home.private / "incoming/abc.old")
    RawStore(home)
    assert (home.raw / "abc/case.json").read_bytes() == b"old"
    assert list((home.private / "incoming").iterdir()) == []


def test_nothing_private_is_readable_by_others(tmp_path: Path) -> None:
    table, home = npz_site(tmp_path / "site", 3), Home(tmp_path / "silo")
    take_in(home, TableSource(table, table.parent, collection="default"), IntakeRules())
    for path in [home.catalogue, *home.private.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_progress_counts_every_item(tmp_path: Path) -> None:
    table, seen = npz_site(tmp_path / "site", 5), []
    source = TableSource(table, table.parent, collection="default")
    take_in(Home(tmp_path / "silo"), source, IntakeRules(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(count, 5) for count in range(6)]


def test_a_lost_site_key_stops_the_intake_instead_of_making_second_pseudonyms(tmp_path: Path) -> None:
    table, home = npz_site(tmp_path / "site", 2), Home(tmp_path / "silo")
    take_in(home, TableSource(table, table.parent, collection="default"), IntakeRules())
    home.site_key_file.unlink()
    with pytest.raises(MedSiloError) as refusal:
        take_in(home, TableSource(table, table.parent, collection="default"), IntakeRules())
    assert refusal.value.code == "config-missing"


def test_a_full_disk_stops_the_intake_with_a_code_and_it_goes_on_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is a real one and has room, so its refusal is the one thing here that is played."""
    table, home = npz_site(tmp_path / "site", 300), Home(tmp_path / "silo")

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("silo_node.intake.store.flush_filesystem", full)
        with pytest.raises(MedSiloError) as refusal:
            take_in(home, TableSource(table, table.parent, collection="default"), IntakeRules())
    assert refusal.value.code == "disk-full"
    assert take_in(home, TableSource(table, table.parent, collection="default"), IntakeRules()).added == 300
    assert len(list(home.raw.iterdir())) == 300
