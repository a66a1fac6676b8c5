"""The node as a service: what it says to systemd, how it ends, what it logs, and which upgrade it is told."""

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from silo_node.agent.health import BEAT_SECONDS, Health, Pulse, read_health
from silo_node.config import NodeConfig
from silo_node.credentials import PROXY, credential
from silo_node.logging import RotatedFile
from silo_node.sandbox import Limits
from silo_node.sandbox.bubblewrap import Bubblewrap
from silo_node.state import Home
from silo_node.transport import proxy_for
from silo_node.wire.enrolment import HubInformation
from silo_node.wire.errors import ConfigError
from tests.silo.peer import Exchange, peer
from tests.silo.stand_in import StandIn, enrolled, home_at

UNITS = sorted((Path(__file__).resolve().parents[2] / "deploy" / "systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=[unit.name for unit in UNITS])
def test_systemd_understands_the_unit_and_finds_it_tight(unit: Path, tmp_path: Path) -> None:
    """Verified by systemd itself; its own measure of exposure (0 to 10) stays under 3.5."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    there = tmp_path / unit.name
    # The command is installed elsewhere on this machine.
    there.write_text(unit.read_text().replace("/opt/medsilo/bin/silo-node", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", str(there)], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    measured = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=35", "--no-pager", str(there)],
        capture_output=True,
        text=True,
    )
    assert measured.returncode == 0, measured.stdout[-300:]


def allowed_calls(unit: Path) -> set[str]:
    """Return the names of the system calls a unit lets pass, as systemd's own lists say."""
    text = unit.read_text()
    wanted = next(line for line in text.splitlines() if line.startswith("SystemCallFilter=")).partition("=")[2].split()
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name.startswith("@"):
            listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True).stdout
            wanted += [line.strip() for line in listed.splitlines()[1:] if line.strip() and "#" not in line]
        else:
            found.add(name)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=[unit.name for unit in UNITS])
def test_a_jail_starts_with_the_system_calls_the_unit_lets_pass(unit: Path, tmp_path: Path) -> None:
    """Every call that bubblewrap and a jailed Python make is traced; what neither needs is refused."""
    strace = shutil.which("strace")
    if shutil.which("systemd-analyze") is None or strace is None:
        pytest.skip("needs systemd-analyze and strace: apt-get install systemd strace")
    trace, driver = tmp_path / "trace", Bubblewrap.find()
    program = "import threading; t = threading.Thread(target=print); t.start(); t.join()"
    jailed = [*driver.limited(Limits()), *driver.command([sys.executable, "-c", program], [], Limits())]
    traced = subprocess.run([strace, "-f", "-qq", "-o", str(trace), *jailed], capture_output=True, text=True)
    if traced.returncode != 0 and "ptrace" in traced.stderr:
        pytest.skip("this machine lets nobody trace")
    assert traced.returncode == 0, traced.stderr
    made = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace.read_text(), re.MULTILINE))
    assert {"unshare", "pivot_root", "mount", "execve"} <= made
    allowed = allowed_calls(unit)
    assert made <= allowed
    assert not allowed & {"bpf", "init_module", "kexec_load", "reboot", "swapon", "clock_settime", "ptrace", "iopl"}


def test_the_unit_leaves_what_the_jail_needs(tmp_path: Path) -> None:
    """A covered /proc, or no user namespaces, would leave the node without its sandbox."""
    settings = {line.partition("=")[0] for line in UNITS[-1].read_text().splitlines() if not line.startswith("#")}
    assert UNITS[-1].name == "silo-node.service"
    forbidden = {"ProtectKernelTunables", "ProtectKernelLogs", "ProtectProc", "RestrictNamespaces", "ProcSubset"}
    assert settings & forbidden == set()
    assert {"WatchdogSec", "NoNewPrivileges", "LoadCredentialEncrypted", "ProtectSystem"} <= settings


def test_the_node_tells_systemd_that_it_is_ready_alive_and_ending(tmp_path: Path) -> None:
    """Over the socket systemd gives it; SIGTERM ends it well, and its health file says so. It stays under 60 MB."""
    home, hub = home_at(tmp_path), StandIn()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, peer(hub) as server:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        enrolled(home, hub)
        home.config_file.write_text(f'hub_url = "{server.url}"\n')
        command = [sys.executable, "-m", "silo_node.cli", "--home", str(home.path), "start"]
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with (tmp_path / "log").open("wb") as log:
            node = subprocess.Popen(command, env=environment, stderr=log)
        try:
            said = {systemd.recv(1000).decode().split("\n")[0] for _ in range(2)}
            assert said == {"WATCHDOG=1", "READY=1"}
            assert hub.asked.wait(15)
            while (read_health(home) or none()).state != "waiting":
                time.sleep(0.02)
            health = read_health(home)
            assert health is not None
            assert (health.pid, health.code) == (node.pid, None)
            assert home.health_file.stat().st_mode & 0o777 == 0o600
            node.send_signal(signal.SIGTERM)
            assert node.wait(30) == 0
        finally:
            node.kill()
            node.wait()
        ended = read_health(home)
        assert ended is not None
        assert ended.state == "stopped"


def none() -> Health:
    return Health("starting", "", None, None, (), "", 0)


def test_the_pulse_beats_at_once_on_a_change_and_else_seldom(tmp_path: Path) -> None:
    """A disk is not written to for nothing, and the watchdog is fed in time."""
    moment, said = [0.0], []
    pulse = Pulse(Home(tmp_path), notify=said.append, clock=lambda: moment[0])
    for _ in range(100):
        pulse.beat(())
        moment[0] += BEAT_SECONDS / 50
    assert len(said) == 2
    pulse.trouble("hub-gone", "hub-unreachable")
    pulse.beat(())
    assert len(said) == 3
    found = read_health(Home(tmp_path))
    assert found is not None
    assert (found.state, found.code) == ("hub-gone", "hub-unreachable")


def test_a_health_file_that_is_no_such_thing_is_none(tmp_path: Path) -> None:
    for text in ("", "{}", "[]", '{"tasks": 3}'):
        Home(tmp_path).health_file.write_text(text)
        assert read_health(Home(tmp_path)) is None


def test_the_log_file_is_kept_small(tmp_path: Path) -> None:
    """Put aside at its size, the oldest deleted, readable by its owner alone."""
    handler = RotatedFile(tmp_path / "node.log", 1, 2).handler()
    for _ in range(5_000):
        handler.handle(logging.LogRecord("silo_node.test", logging.INFO, "", 0, "a line " * 150, (), None))
    handler.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["node.log", "node.log.1", "node.log.2"]
    assert all(path.stat().st_size <= 1_000_000 for path in tmp_path.iterdir())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    with pytest.raises(ConfigError, match="log_file"):
        RotatedFile(tmp_path / "no" / "folder", 1, 1).handler()


def test_a_proxy_with_a_password_comes_from_the_services_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In no environment variable and no setting; ``none`` is what the unit gives where nobody made one."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert credential(PROXY) is None
    (tmp_path / PROXY).write_text("none")
    assert credential(PROXY) is None
    (tmp_path / PROXY).write_text("http://silo:word@proxy.example:3128\n")
    assert proxy_for("https://hub.example", NodeConfig()) == "http://silo:word@proxy.example:3128"
    assert proxy_for("https://hub.example", NodeConfig(proxy="http://other:1")) == "http://other:1"


@pytest.mark.parametrize(
    ("recommended", "wire", "status"), [(None, (1,), 0), ("0.0.1", (1,), 0), ("99.0", (1,), 1), (None, (7,), 1)]
)
def test_an_upgrade_is_recommended_in_words_and_by_exit_status(
    tmp_path: Path, recommended: str | None, wire: tuple[int, ...], status: int
) -> None:
    """A script may ask; nothing is installed."""
    home, hub = home_at(tmp_path), StandIn()
    enrolled(home, hub)

    def answer(exchange: Exchange) -> None:
        exchange.say(
            HubInformation(
                name="Hub",
                version="0.1.0",
                wire_versions=wire,
                public_key=hub.public_key,
                development=True,
                recommended_node=recommended,
            )
        )

    with peer(answer) as server:
        home.config_file.write_text(f'hub_url = "{server.url}"\n')
        command = [sys.executable, "-m", "silo_node.cli", "--home", str(home.path), "upgrade", "--check"]
        done = subprocess.run(command, capture_output=True, text=True)
        told = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert ("pip install --upgrade" in done.stdout) == bool(status)
    assert json.loads(told.stdout)["recommended_node"] == recommended
