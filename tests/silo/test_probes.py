"""The probes that try to get out of the jail: all held by the real one, and each let out once its control is gone."""

import os
import resource
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from silo_node.agent.__main__ import try_sandbox
from silo_node.sandbox import Bind, Jail, Limits, choose
from silo_node.sandbox.bubblewrap import Bubblewrap
from silo_node.sandbox.probes import PROCESSES, TITLES, ProbeResult, refuse_escape, run
from silo_node.state import Home
from silo_node.wire.errors import SandboxUnavailable

Line = list[str]


class Weakened(Bubblewrap):
    """The real jail with one of its controls taken away."""

    filtered = True
    change: Callable[[Line], Line] = staticmethod(lambda line: line)
    change_limits: Callable[[Line], Line] = staticmethod(lambda line: line)
    processes = PROCESSES

    def start(self, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, *, log: Path | None = None) -> Jail:
        return super().start(argv, binds, replace(limits, processes=self.processes), log=log)

    def limited(self, limits: Limits) -> Line:
        return self.change_limits(super().limited(limits))

    def command(self, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, filter_fd: int | None = None) -> Line:
        return self.change(super().command(argv, binds, limits, filter_fd if self.filtered else None))


def weakened(
    *,
    without: Sequence[str] = (),
    instead: tuple[str, str] = ("", ""),
    unlimited: str = "",
    filtered: bool = True,
    processes: int = PROCESSES,
) -> Bubblewrap:
    """Return the real jail without some of its words, its filter, or one of its limits."""

    def change(line: Line) -> Line:
        end = line.index("--")
        words = [instead[1] if word == instead[0] else word for word in line[:end] if word not in without]
        return [*words, *line[end:]]

    found = Bubblewrap.find()
    driver = Weakened(found.bwrap, found.prlimit, found.user_namespace)
    object.__setattr__(driver, "change", change)
    object.__setattr__(driver, "change_limits", lambda line: [w for w in line if not unlimited or unlimited not in w])
    object.__setattr__(driver, "filtered", filtered)
    object.__setattr__(driver, "processes", processes)
    return driver


def has_vsock() -> bool:
    """Tell whether this machine's kernel knows the family at all."""
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def out(results: Sequence[ProbeResult]) -> set[str]:
    return {result.name for result in results if not result.held}


def test_no_probe_gets_out_of_the_jail() -> None:
    """Network of every family, files, writes, other processes, tracing, memory, core dumps."""
    results = run(choose())
    assert [result.name for result in results] == list(TITLES)
    assert out(results) == set(), results
    refuse_escape(results)


def test_without_a_jail_the_same_probes_get_out() -> None:
    """So that they all being held says something about the jail."""
    reached = out(run(choose(development_no_sandbox=True)))
    assert {"tcp", "udp", "unix", "abstract", "netlink", "files", "writes", "processes"} <= reached
    with pytest.raises(SandboxUnavailable, match="sandbox-escape"):
        refuse_escape(run(choose(development_no_sandbox=True)))


@pytest.mark.parametrize(
    ("driver", "probes"),
    [
        (lambda: weakened(without=["--unshare-net"], filtered=False), {"tcp", "udp", "dns", "abstract", "netlink"}),
        (lambda: weakened(without=["--unshare-net"]), {"abstract"}),
        (lambda: weakened(filtered=False), {"netlink", "namespaces", "ptrace"} | ({"vsock"} if has_vsock() else set())),
        (lambda: weakened(without=["--unshare-pid"]), {"processes"}),
        (lambda: weakened(instead=("--ro-bind", "--bind")), {"writes"}),
        (lambda: weakened(unlimited="--as="), {"memory"}),
        (lambda: weakened(processes=1000), {"fork_bomb"}),
    ],
    ids=["network", "network-namespace", "filter", "processes", "read-only", "memory", "process-limit"],
)
def test_a_control_taken_away_lets_its_probe_out(driver: Callable[[], Bubblewrap], probes: set[str]) -> None:
    """Each wall is tried by itself."""
    assert probes <= out(run(driver()))


def test_a_folder_beside_the_given_one_is_found_where_the_machine_is_shown() -> None:
    """A jail that shows the machine's files is noticed."""
    found = weakened()
    object.__setattr__(found, "change", lambda line: [*line[:1], "--ro-bind", "/", "/", "--tmpfs", "/shown", *line[1:]])
    assert "files" in out(run(found))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may open one at all")
def test_a_jail_that_keeps_roots_rights_opens_sockets_below_ip() -> None:
    """Rights, user namespace, filter: with all of them gone the probe gets out, with the filter left it does not."""
    bare = weakened(instead=("--cap-drop", "--cap-add"), filtered=False)
    assert "packet" not in out(run(bare)) or not bare.user_namespace
    object.__setattr__(bare, "user_namespace", False)
    assert "packet" in out(run(bare))
    filtered = weakened(instead=("--cap-drop", "--cap-add"))
    object.__setattr__(filtered, "user_namespace", False)
    assert "packet" not in out(run(filtered))


def test_a_jail_that_passes_on_the_nodes_environment_is_noticed() -> None:
    """Every secret that an administrator has exported would be a model's to read."""
    found = weakened()

    def passed_on(line: Line) -> Line:
        end = line.index("--")
        given = [word for name, value in os.environ.items() for word in ("--setenv", name, value)]
        return [*line[:end], *given, *line[end:]]

    object.__setattr__(found, "change", passed_on)
    assert out(run(found)) == {"environment"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only a node that runs as root could write there at all")
def test_the_kernels_settings_are_out_of_reach_of_a_node_that_runs_as_root() -> None:
    """The program that takes core dumps is started by the kernel outside of any jail."""
    found = weakened()

    def without_read_only_proc(line: Line) -> Line:
        place = next(place for place, word in enumerate(line) if word == "--remount-ro" and line[place + 1] == "/proc")
        return line[:place] + line[place + 2 :]

    object.__setattr__(found, "change", without_read_only_proc)
    assert "kernel" in out(run(found))


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="this machine allows no core dump at all")
def test_a_core_dump_is_noticed() -> None:
    """A crash would write what is in memory, and that is a patient's image, to a file."""
    assert "core_dump" in out(run(weakened(unlimited="--core=")))


def test_a_node_does_not_start_where_a_probe_gets_out(tmp_path: Path) -> None:
    """It ends with the code, and names what was reached."""
    with pytest.raises(SandboxUnavailable, match=r"sandbox-escape.*network settings"):
        try_sandbox(Home(tmp_path).create(), weakened(filtered=False))
    try_sandbox(Home(tmp_path).create(), choose())


def test_a_node_does_not_start_where_its_own_key_is_in_sight(tmp_path: Path) -> None:
    """A state folder that lies where a jail shows everything, such as beside the interpreter, is noticed."""
    home = Home(tmp_path).create()
    home.key_file.write_text("key")
    found = weakened()
    show = ["--ro-bind", str(tmp_path), str(tmp_path)]
    object.__setattr__(found, "change", lambda line: [*line[: line.index("--")], *show, *line[line.index("--") :]])
    with pytest.raises(SandboxUnavailable, match="files it was not given"):
        try_sandbox(home, found)
