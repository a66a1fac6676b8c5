"""The demonstration's processes: their answers, their coded failures, and that none is left behind."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from federation_hub.client.demo.places import make_places
from federation_hub.client.demo.processes import Processes
from silo_node.wire.errors import BadInput, MedSiloError, WorkFailed

STUBBORN = """\
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""


def _processes(folder: Path) -> Processes:
    return Processes(folder / "logs", {**os.environ, "PYTHONPATH": str(folder)}, grace_seconds=0.3)


def _wait_for(path: Path) -> str:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path.read_text()


def test_a_command_gives_its_json(tmp_path: Path) -> None:
    with _processes(tmp_path) as processes:
        found = processes.run("silo", "silo_node.cli", ["--home", str(tmp_path / "silo"), "policy", "show", "--json"])
    assert found["release"]["updates"] == "hold"


def test_a_commands_refusal_keeps_its_code(tmp_path: Path) -> None:
    with _processes(tmp_path) as processes, pytest.raises(MedSiloError) as caught:
        processes.run("silo", "silo_node.cli", ["--home", str(tmp_path / "silo"), "benchmark", "list", "--json"])
    assert caught.value.code == "not-enrolled"
    assert str(tmp_path / "logs" / "silo.log") in caught.value.detail


def test_a_process_that_ended_is_noticed_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "brief.py").write_text("import sys; print('no room on the disk'); sys.exit(3)\n")
    with _processes(tmp_path) as processes:
        processes.start("brief", "brief", []).process.wait(timeout=30)
        with pytest.raises(WorkFailed, match=r"brief ended with status 3 .*brief\.log\): no room on the disk"):
            processes.check_alive()


def test_a_demonstration_that_waits_says_which_of_its_processes_was_killed(tmp_path: Path) -> None:
    """And where its log is; what has done its work and ended is not meant."""
    (tmp_path / "patient.py").write_text("import time; print('listening', flush=True); time.sleep(60)\n")
    (tmp_path / "quick.py").write_text("print('{}')\n")
    log = tmp_path / "logs" / "hub.log"
    with _processes(tmp_path) as processes:
        processes.run("operator", "quick", [])
        hub = processes.start("hub", "patient", [])
        _wait_for(log)
        waiting = ThreadPoolExecutor(1).submit(processes.stay)
        assert not waiting.done()
        os.kill(hub.process.pid, signal.SIGKILL)
        with pytest.raises(WorkFailed) as caught:
            waiting.result(timeout=30)
    assert caught.value.detail == f"hub was ended by SIGKILL (log: {log}): listening"


def test_a_hub_that_ends_as_if_all_were_well_is_missed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "content.py").write_text("")
    with _processes(tmp_path) as processes:
        processes.start("hub", "content", []).process.wait(timeout=30)
        with pytest.raises(WorkFailed, match="hub ended with status 0"):
            processes.stay()


def test_a_process_that_does_not_want_to_end_is_ended_with_its_children(tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    note = tmp_path / "child"
    with _processes(tmp_path) as processes:
        child = processes.start("stubborn", "stubborn", [str(note)])
        grandchild = int(_wait_for(note))
    assert child.process.returncode == -9
    deadline = time.monotonic() + 10
    while psutil.pid_exists(grandchild) and psutil.Process(grandchild).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_nothing_is_started_once_everything_was_stopped(tmp_path: Path) -> None:
    with _processes(tmp_path) as processes:
        processes.stop_all()
        with pytest.raises(WorkFailed):
            processes.run("late", "silo_node.cli", ["--version"])


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput) as caught:
        make_places(tmp_path)
    assert caught.value.code == "already-exists"
