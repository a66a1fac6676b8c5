"""Commands that stand: a watched folder and a listener, as processes that are stopped, killed and started again."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from silo_node.intake.folder_watch import FolderWatch
from silo_node.intake.objects.index import ObjectIndex
from silo_node.intake.run import IntakeReport, IntakeRules
from silo_node.intake.standing import stand
from silo_node.state import Home
from silo_node.wire.errors import BadInput
from tests.silo.pacs.dcmtk import storescu
from tests.silo.sources import save, xray


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


@contextmanager
def watched(home: Home, folder: Path) -> Iterator["queue.Queue[IntakeReport]"]:
    reports: queue.Queue[IntakeReport] = queue.Queue()
    watch = FolderWatch(folder, look_every=0.05)

    def run() -> None:
        stand(home, watch, IntakeRules(), quiet_seconds=0.3, on_report=reports.put, look_every=0.05)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield reports
    finally:
        watch.stop.set()
        thread.join()


def test_what_is_copied_into_a_watched_folder_is_taken_in(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    save(xray(patient="A", seed=0), folder / "a.dcm")
    with watched(home, folder) as reports:
        assert reports.get(timeout=20).added == 1
        save(xray(patient="B", seed=1), folder / "later/b.dcm")
        assert reports.get(timeout=20).added == 1
    with ObjectIndex(home) as index:
        assert index.count()[:2] == (2, 2)


def test_a_file_that_was_copied_by_half_is_taken_in_once_it_is_whole(home: Home, tmp_path: Path) -> None:
    whole = save(xray(rows=64, columns=64), tmp_path / "a.dcm").read_bytes()
    folder = tmp_path / "drop"
    folder.mkdir()
    with watched(home, folder) as reports:
        (folder / "a.dcm").write_bytes(whole[:3000])
        assert reports.get(timeout=20).quarantined == {"file-undecodable": 1}
        with (folder / "a.dcm").open("ab") as file:
            file.write(whole[3000:])
        assert reports.get(timeout=20).added == 1


def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        FolderWatch(tmp_path / "nowhere")


def start_listening(home: Home, *before: str) -> tuple["subprocess.Popen[str]", int]:
    """Start the command; ``before`` is what starts it, with its state folder made there."""
    if not before:
        home.create()
        home.config_file.write_text("[intake]\nquiet_seconds = 0\n")
    command = [sys.executable, "-m", "silo_node.cli", "--home", str(home.path), "intake", "listen", "--json"]
    process = subprocess.Popen(
        [*before, *command, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("Listening on port "), line
    return process, int(line.split()[-1].rstrip("."))


def test_a_listener_that_is_killed_has_what_it_said_it_had_and_the_next_one_takes_it_in(
    home: Home, tmp_path: Path
) -> None:
    files = [save(xray(seed=seed), tmp_path / f"{seed}.dcm") for seed in range(4)]
    process, port = start_listening(home)
    assert storescu(port, files[:3]).returncode == 0
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with ObjectIndex(home) as index:
        assert index.count()[1] == 3
    process, port = start_listening(home)
    assert storescu(port, files).returncode == 0
    process.terminate()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    facts = json.loads(told)
    assert facts["objects"] == {"new": 1, "known": 3}
    assert len(list(home.raw.iterdir())) == 4


def test_on_a_full_disk_the_sender_is_told_and_the_listener_goes_on(home: Home, tmp_path: Path) -> None:
    """The disk is a file system of 8 MB in memory, which only the listener's process sees."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no user and mount namespaces here")
    files = [save(xray(rows=700, columns=700, seed=seed), tmp_path / f"{seed}.dcm") for seed in range(9)]
    home.path.mkdir()
    mount = f'mount -t tmpfs -o size=8m tmpfs {home.path} && exec "$0" "$@"'
    process, port = start_listening(home, "unshare", "-rm", "sh", "-c", mount)
    answers = ["OutOfResources" in storescu(port, [file]).stderr for file in files]
    assert answers[0] is False
    assert answers[-1] is True
    assert process.poll() is None
    process.terminate()
    told, _ = process.communicate(timeout=60)
    assert json.loads(told)["objects"]["new"] == answers.count(False)
