"""The jail, tried by programs that want out. Every probe runs in a real bubblewrap process."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import psutil
import pytest

from silo_node.sandbox import Bind, Ending, Limits, choose, start
from silo_node.sandbox.bubblewrap import Bubblewrap
from silo_node.sandbox.jail import descendants
from silo_node.sandbox.limits import outside
from silo_node.sandbox.seccomp import filter_program
from silo_node.wire.errors import SandboxUnavailable, WorkFailed

NOBODY = 65534


def jailed(program: str, *binds: Bind, limits: Limits | None = None) -> tuple[list[str], Ending]:
    """Run a Python program in a jail; return the lines it printed and how it ended."""
    jail = start([sys.executable, "-c", textwrap.dedent(program)], list(binds), limits or Limits(wall_seconds=20))
    jail.close_input()
    lines = [line.decode().rstrip("\n") for line in jail.lines()]
    return lines, jail.wait(20)


def attempt(statement: str, *binds: Bind, before: str = "") -> str:
    """Return what a statement does in a jail: ``done``, or the kind of error it meets."""
    program = f"import os, socket, ctypes\n{before}\ntry:\n    {statement}\n    print('done')\n"
    program += "except Exception as error:\n    print(type(error).__name__)\n"
    lines, _ = jailed(program, *binds)
    return lines[-1]


@pytest.fixture
def listener() -> Iterator[int]:
    """A server on this machine that a jailed program must not reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_on_the_host_cannot_be_reached(listener: int) -> None:
    """Neither the hospital's network nor the node's own machine is there."""
    with socket.create_connection(("127.0.0.1", listener)):
        pass
    assert attempt(f"socket.create_connection(('127.0.0.1', {listener}), 3)") == "PermissionError"


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"])
def test_no_family_of_sockets_but_unix_can_be_opened(family: str) -> None:
    """Also those that would go round a network namespace."""
    kind = (
        "SOCK_SEQPACKET"
        if family == "AF_ALG"
        else "SOCK_RAW"
        if family in ("AF_NETLINK", "AF_PACKET")
        else "SOCK_DGRAM"
    )
    assert attempt(f"socket.socket(socket.{family}, socket.{kind})") == "PermissionError"


def test_a_unix_socket_of_the_host_is_not_there(tmp_path: Path) -> None:
    """A daemon's socket, such as Docker's, is a way out of many sandboxes."""
    path = tmp_path / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        statement = f"socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        assert attempt(statement) == "FileNotFoundError"


def test_only_what_was_bound_can_be_seen(tmp_path: Path) -> None:
    """Another task's cohort lies beside this one's and is not there; nor are home folders and passwords."""
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image").write_text(name)
    lines, ending = jailed(
        f"""
        import json, os, pathlib
        found = [str(path) for path in pathlib.Path("/cohort").rglob("*")]
        hidden = [{str(tmp_path)!r}, "/etc/passwd", "/etc/shadow", "/home", "/var", "/sys", "/srv"]
        print(json.dumps([found, [path for path in hidden if os.path.exists(path)]]))
        """,
        Bind(tmp_path / "mine", "/cohort"),
    )
    assert ending.well
    assert json.loads(lines[0]) == [["/cohort/image"], []]


def test_inputs_cannot_be_written_and_the_output_folder_can(tmp_path: Path) -> None:
    """A model must not change a frozen cohort, nor leave anything outside its own folder."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "image").write_text("pixels")
    binds = (Bind(tmp_path / "in", "/in"), Bind(tmp_path / "out", "/out", writable=True))
    assert attempt("open('/in/image', 'w')", *binds) == "OSError"
    assert attempt("os.unlink('/in/image')", *binds) == "OSError"
    assert attempt("open('/out/scores', 'w').write('ours')", *binds) == "done"
    for place in ("/", "/usr", "/code", "/dev", sys.prefix):
        assert attempt(f"open('{place}/planted', 'w')", *binds) == "OSError", place
    assert (tmp_path / "in" / "image").read_text() == "pixels"
    assert (tmp_path / "out" / "scores").read_text() == "ours"


def test_the_environment_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's environment may hold a proxy's password."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy")
    lines, _ = jailed("import os, json; print(json.dumps(dict(os.environ)))")
    seen = json.loads(lines[0])
    assert "HTTPS_PROXY" not in seen
    assert seen["HOME"] == "/tmp"
    assert not set(seen) - set(Limits().environment) - {
        "PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "LANG", "TZ", "PWD", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE",
        "PYTHONNOUSERSITE", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    }  # fmt: skip


def test_other_processes_are_neither_seen_nor_touched() -> None:
    """The jail's process table is its own; tracing and new namespaces are refused."""
    lines, _ = jailed("import os; print(len([name for name in os.listdir('/proc') if name.isdigit()]))")
    assert int(lines[0]) <= 2
    before = "libc = ctypes.CDLL(None, use_errno=True)"
    for call in ("ptrace(16, 1, 0, 0)", "unshare(0x10000000)", "unshare(0x00020000)", "personality(0x0040000)"):
        refused = f"assert libc.{call} != -1 or ctypes.get_errno() != 1"
        assert attempt(refused, before=before) == "AssertionError", call


def test_the_wall_clock_ends_a_program_that_never_ends() -> None:
    """It counts time, not silence: a chatty endless program ends as well."""
    before = time.monotonic()
    lines, ending = jailed(
        "import time\nwhile True: print('still here', flush=True); time.sleep(0.1)", limits=Limits(wall_seconds=1.0)
    )
    assert ending.exceeded == "wall-clock"
    assert not ending.well
    assert 1.0 <= time.monotonic() - before < 8.0
    assert len(lines) >= 3


def test_going_over_the_memory_limit_ends_the_jail() -> None:
    """The limit is on memory in use, of all its processes together."""
    _, ending = jailed(
        "import time\nhoard = []\nwhile True: hoard.append(bytearray(8_000_000)); time.sleep(0.01)",
        limits=Limits(wall_seconds=20, memory_mb=200),
    )
    assert ending.exceeded == "memory"


def test_an_absurd_request_for_memory_fails_at_once() -> None:
    """A network of a hundred gigabytes is refused by the kernel before anything is touched."""
    lines, _ = jailed("try: bytearray(100_000_000_000)\nexcept MemoryError: print('refused')")
    assert lines == ["refused"]


def test_too_many_processes_end_the_jail() -> None:
    """A fork bomb ends itself."""
    program = "import os, time\nfor _ in range(12):\n    if os.fork() == 0: time.sleep(30)\ntime.sleep(30)"
    _, ending = jailed(program, limits=Limits(wall_seconds=20, processes=8))
    assert ending.exceeded == "processes"


def test_a_file_cannot_grow_over_its_limit(tmp_path: Path) -> None:
    """A full disk would stop the whole node."""
    lines, _ = jailed(
        """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            with open("/out/large", "wb") as file:
                for _ in range(5): file.write(bytes(1_000_000)); file.flush()
        except OSError as error:
            print(error.errno)
        """,
        Bind(tmp_path, "/out", writable=True),
        limits=Limits(wall_seconds=20, file_mb=2),
    )
    assert lines == ["27"]
    assert (tmp_path / "large").stat().st_size <= 2_000_000


def test_a_line_without_an_end_ends_the_jail() -> None:
    """What a jailed program prints is read in bounded pieces."""
    _, ending = jailed("while True: print('x' * 10_000, end='')")
    assert ending.exceeded == "output"


def test_what_it_complains_about_is_kept_at_the_site_and_bounded(tmp_path: Path) -> None:
    """Standard error may hold anything a model wrote."""
    log = tmp_path / "work" / "task.log"
    program = "import sys\nsys.stderr.write('first ' + 'x' * 3_000_000)"
    jail = choose().start([sys.executable, "-c", program], [], Limits(wall_seconds=20), log=log)
    assert jail.wait(20).status == 0
    wait_for(lambda: log.exists() and log.stat().st_size == 1_000_000)
    assert log.read_bytes().startswith(b"first x")


def test_killing_a_jail_ends_everything_it_started() -> None:
    """Also what was started to outlive it."""
    program = "import os, time\nif os.fork() == 0: os.setsid()\nprint('up', flush=True)\ntime.sleep(60)"
    jail = start([sys.executable, "-c", program], [], Limits(wall_seconds=60))
    assert jail.read_line(20) == b"up\n"
    assert jail.read_line(20) == b"up\n"
    family = list(descendants(jail.pid))
    assert len(family) >= 3
    jail.kill()
    wait_for(lambda: not any(alive(pid) for pid in family))


def test_a_jail_does_not_outlive_the_node() -> None:
    """After ``kill -9`` of the node nothing goes on in secret."""
    program = """
        import sys, time
        from silo_node.sandbox import Limits, start
        jail = start([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], [], Limits())
        jail.read_line(20)
        print(jail.pid, flush=True)
        time.sleep(60)
    """
    node = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    assert node.stdout is not None
    with node.stdout as output:
        family = list(descendants(int(output.readline())))
        node.kill()
        node.wait()
    wait_for(lambda: not any(alive(pid) for pid in family))


def test_lines_go_both_ways() -> None:
    """A training session is told what to do and says what it did, a line each."""
    jail = start(
        [sys.executable, "-c", "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"],
        [],
        Limits(),
    )
    assert jail.send("round 1")
    assert jail.read_line(20) == b"ROUND 1\n"
    with pytest.raises(TimeoutError):
        jail.read_line(0.05)
    jail.close_input()
    assert jail.read_line(20) is None
    assert jail.read_line(20) is None
    assert jail.wait(20).well
    assert not jail.send("round 2")


def test_the_pipelines_can_be_imported_and_the_node_cannot() -> None:
    """What runs inside knows no hub, no policy and no key file's place."""
    lines, _ = jailed("import pipelines.job; print(pipelines.__file__)")
    assert lines == ["/code/pipelines/__init__.py"]
    assert jailed("import silo_node")[1].status == 1


def test_a_machine_without_bubblewrap_is_told_what_to_install() -> None:
    """Nothing is run unjailed because the jail is missing."""
    absent = Bubblewrap("/nonexistent/bwrap", "/usr/bin/prlimit", user_namespace=True)
    assert absent.refusal() == "FileNotFoundError"
    error = SandboxUnavailable("sandbox-unavailable")
    assert "apt-get install bubblewrap" in error.hint


def test_libraries_a_jail_does_not_see_are_named_before_any_work(tmp_path: Path) -> None:
    """A user's own packages, or those of another environment, are importable here and would be missing inside."""
    (tmp_path / "monai").mkdir()
    (tmp_path / "monai" / "__init__.py").touch()
    code = "from silo_node.sandbox.bubblewrap import Bubblewrap; Bubblewrap.find()"
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert "sandbox-incomplete" in done.stderr
    assert done.stderr.rstrip().endswith("monai")


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here already runs as an ordinary user")
def test_an_ordinary_user_can_make_the_jail_too() -> None:
    """A node need not run as root. The interpreter's folder is left out, for it may be root's alone."""
    driver = Bubblewrap("/usr/bin/bwrap", "/usr/bin/prlimit", user_namespace=True)
    command = driver.command(["/usr/bin/id", "-u"], [], Limits())
    for place in reversed([place for place, word in enumerate(command) if word == "--ro-bind"]):
        if command[place + 2] != "/usr":
            del command[place : place + 3]
    done = subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, env={}, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"65534\n", b"")


def test_the_development_override_runs_without_a_jail_and_says_so(tmp_path: Path) -> None:
    """It is for machines on which no jail can be made, and never chosen by itself."""
    sandbox = choose(development_no_sandbox=True)
    assert not sandbox.jailed
    assert choose().jailed
    (tmp_path / "seen").write_text("seen")
    jail = sandbox.start([sys.executable, "-c", f"print(open('{tmp_path}/seen').read())"], [], Limits())
    assert jail.read_line(20) == b"seen\n"
    assert jail.wait(20).well


def test_a_file_named_from_inside_counts_only_in_a_writable_bind(tmp_path: Path) -> None:
    """A jailed program may name any path and link anywhere; neither leads out."""
    for name in ("out", "in"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    binds = [Bind(tmp_path / "out", "/out", writable=True), Bind(tmp_path / "in", "/in")]
    assert outside(PurePosixPath("/out/file"), binds) == tmp_path / "out" / "file"
    (tmp_path / "out" / "link").symlink_to(tmp_path / "in" / "file")
    (tmp_path / "out" / "folder").symlink_to(tmp_path / "in")
    for path in ("/in/file", "/etc/passwd", "/out/../in/file", "/out/link", "/out/folder/file"):
        with pytest.raises(WorkFailed, match="output-invalid"):
            outside(PurePosixPath(path), binds)


def test_the_filter_is_one_program_for_each_machine_it_is_written_for() -> None:
    """A machine it is not written for gets none, and still the namespaces."""
    for machine in ("x86_64", "aarch64"):
        program = filter_program(machine)
        assert program is not None
        assert len(program) % 8 == 0
        assert len(program) // 8 < 4096
    assert filter_program("riscv64") is None


def alive(pid: int) -> bool:
    """Return whether a process is still at work."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
