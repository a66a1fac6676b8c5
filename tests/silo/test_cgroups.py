"""Limits the kernel keeps for a whole jail, on machines that have control groups for us."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from silo_node.sandbox import Ending, Limits, cgroups, choose
from silo_node.sandbox.cgroups import Group, Hierarchies, available, of_process

with_groups = pytest.mark.skipif(available() is None, reason="this machine lets us make no control groups")


def jailed(program: str, limits: Limits) -> Ending:
    jail = choose().start([sys.executable, "-c", program], [], limits)
    jail.close_input()
    list(jail.lines())
    return jail.wait(30)


def left(pid: int | None = None) -> list[Path]:
    """Return the groups of a process's jails that are still there: this one's, unless another is named."""
    found = available()
    return [] if found is None else list(found.memory.glob(f"{of_process(pid or os.getpid())}*"))


MAKES_A_GROUP = """
import time
from silo_node.sandbox import Limits
from silo_node.sandbox.cgroups import available
group = available().make(Limits())
print(group.folders[0], flush=True)
time.sleep(600)
"""


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    """Numbers come again: the group of a killed node must not stay because another process has its number."""
    first, own = of_process(1), of_process(os.getpid())
    assert first != own
    assert own == of_process(os.getpid())
    assert of_process(2**22 + 1).endswith("-gone-")


@with_groups
def test_a_killed_nodes_groups_go_at_the_next_start_and_a_living_ones_stay() -> None:
    """Whoever starts next takes away what nobody owns, and nothing else."""
    node = [sys.executable, "-c", MAKES_A_GROUP]
    with subprocess.Popen(node, stdout=subprocess.PIPE) as killed, subprocess.Popen(node, stdout=subprocess.PIPE) as on:
        try:
            assert killed.stdout is not None
            assert on.stdout is not None
            orphan, kept = Path(killed.stdout.readline().decode().strip()), Path(on.stdout.readline().decode().strip())
            killed.kill()
            killed.wait()
            assert orphan.is_dir()
            subprocess.run([sys.executable, "-c", "from silo_node.sandbox.cgroups import available; available()"])
            assert not orphan.exists()
            assert kept.is_dir()
        finally:
            killed.kill()
            on.kill()
            on.wait()
    cgroups._sweep(found_here())
    assert not kept.exists()


def found_here() -> Hierarchies:
    found = available()
    assert found is not None
    return found


@with_groups
def test_memory_that_is_taken_faster_than_anybody_looks_is_refused_by_the_kernel() -> None:
    """Two gigabytes are touched within the fifth of a second between two looks."""
    program = "hoard = bytearray(2_000_000_000)\nfor place in range(0, len(hoard), 4096): hoard[place] = 1"
    ending = jailed(program, Limits(wall_seconds=20, memory_mb=200))
    assert ending.exceeded == "memory"
    assert left() == []


@with_groups
def test_a_jail_within_its_limits_ends_well_and_leaves_no_group() -> None:
    """Making and removing them costs nothing anybody notices."""
    assert jailed("print(sum(range(1000)))", Limits(wall_seconds=20, memory_mb=200)).well
    assert left() == []


def test_a_group_is_entered_before_the_program_begins(tmp_path: Path) -> None:
    """By the command itself, so that not even its first allocation is outside."""
    group = Group((tmp_path / "memory", tmp_path / "pids"), 1)
    command = group.entering(["/usr/bin/true", "-x"])
    assert command[:2] == ["/bin/sh", "-c"]
    assert command[2].count("cgroup.procs") == 2
    assert command[-4:] == [str(tmp_path / "memory"), str(tmp_path / "pids"), "/usr/bin/true", "-x"]


def test_what_a_machine_will_not_have_is_left_to_the_thread_that_looks(tmp_path: Path) -> None:
    """No group, no error."""
    assert Hierarchies(tmp_path / "absent", tmp_path / "absent", 1).make(Limits()) is None


def test_the_limits_are_written_as_each_version_wants_them(tmp_path: Path) -> None:
    """On a plain folder, as the kernel's files would be."""
    for version, name in ((1, "memory.limit_in_bytes"), (2, "memory.max")):
        place = tmp_path / str(version)
        place.mkdir()
        group = Hierarchies(place, place, version).make(Limits(memory_mb=300, processes=4))
        assert group is not None
        assert (group.folders[0] / name).read_text() == "300000000"
        assert int((group.folders[0] / "pids.max").read_text()) > 4
    assert Path("/sys/fs/cgroup") == cgroups.ROOT
