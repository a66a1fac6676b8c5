"""The second driver: what it asks the engine for, and, where podman runs, that the same probes are held."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from silo_node.config import NodeConfig, SandboxSettings
from silo_node.sandbox import Bind, Limits
from silo_node.sandbox.container import Container
from silo_node.sandbox.grant import sandbox_of
from silo_node.sandbox.probes import run
from silo_node.sandbox.seccomp import container_profile
from silo_node.wire.errors import SandboxUnavailable

IMAGE = "registry.example.org/medsilo/worker@sha256:" + "a" * 64
LIBRARIES = "usr/lib/x86_64-linux-gnu"
PARTS = ["usr/bin/python3", "usr/bin/python3.11", "usr/lib/python3.11", "lib64/ld-linux-x86-64.so.2"]
PARTS += [f"{LIBRARIES}/lib{name}" for name in ("c.so.6", "m.so.6", "z.so.1", "expat.so.1", "ffi.so.8")]


def test_the_command_gives_no_network_no_writing_and_no_rights(tmp_path: Path) -> None:
    """And just what the task needs, from an image named by its digest that is never pulled."""
    binds = [Bind(tmp_path, "/cohort"), Bind(tmp_path, "/out", writable=True)]
    limits = Limits(memory_mb=2000, processes=8, threads=2, file_mb=5, scratch_mb=10)
    line = Container("/usr/bin/podman", IMAGE).command("name", [sys.executable, "-m", "x"], binds, limits)
    pairs = set(pairwise(line))
    for pair in (
        ("--network", "none"),
        ("--cap-drop", "all"),
        ("--security-opt", "no-new-privileges"),
        ("--pull", "never"),
        ("--memory", "2000000000"),
        ("--memory-swap", "2000000000"),
        ("--pids-limit", "8"),
        ("--cpus", "2"),
        ("--ulimit", "core=0:0"),
        ("--volume", f"{tmp_path}:/cohort:ro"),
        ("--volume", f"{tmp_path}:/out:rw"),
        ("--entrypoint", "python3"),
    ):
        assert pair in pairs, pair
    assert "--read-only" in line
    assert line[-3:] == [IMAGE, "-m", "x"]
    assert not [
        word for word in line if word.startswith(("--privileged", "--device", "--net=", "--pid=", "--ipc=host"))
    ]
    mounted = {word.split(":")[1] for flag, word in pairs if flag == "--volume"}
    assert mounted == {"/cohort", "/out", "/code/pipelines", "/code/benchmarks"}


def test_the_system_calls_it_refuses_are_those_of_the_first_driver() -> None:
    """One list, written down twice by the program and not by hand."""
    profile = container_profile("x86_64")
    assert profile is not None
    calls = profile["syscalls"]
    assert isinstance(calls, list)
    assert {"ptrace", "unshare", "bpf", "mount"} <= set(calls[0]["names"])
    assert calls[1]["names"] == ["socket"]
    assert container_profile("riscv64") is None


def test_an_image_without_a_digest_is_no_setting() -> None:
    """What a tag names can change overnight."""
    for image in ("medsilo/worker", "medsilo/worker:1.0", "medsilo/worker@sha256:abc"):
        with pytest.raises(ValueError, match="pattern"):
            SandboxSettings(driver="podman", image=image)
    SandboxSettings(driver="podman", image=IMAGE)


def test_a_driver_that_is_chosen_and_missing_is_no_reason_to_run_without() -> None:
    """Nor to fall back to another."""
    with pytest.raises(SandboxUnavailable):
        sandbox_of(NodeConfig(sandbox=SandboxSettings(driver="docker", image=IMAGE)))
    with pytest.raises(SandboxUnavailable, match=r"names no image|not installed"):
        sandbox_of(NodeConfig(sandbox=SandboxSettings(driver="podman")))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let podman use runc where it is there: crun refuses machines with both kinds of control groups."""
    runc = shutil.which("runc", path="/usr/sbin:/usr/bin")
    with pytest.MonkeyPatch.context() as patch:
        if runc is not None:
            file = tmp_path_factory.mktemp("podman") / "containers.conf"
            file.write_text(f'[engine]\nruntime = "{runc}"\n')
            patch.setenv("CONTAINERS_CONF", str(file))
        yield


@pytest.fixture(scope="module")
def worker(settings: None) -> Iterator[Container]:
    """A podman that runs here, with an image made of this machine's own Python."""
    podman = shutil.which("podman")
    if podman is None or not all((Path("/") / part).exists() for part in PARTS):
        pytest.skip("no podman here, or no Python of the distribution's to make an image of")
    packed = subprocess.Popen(
        ["tar", "--create", "--dereference", "--exclude=dist-packages", "--exclude=test", "-C", "/", *PARTS],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    tagged = "localhost/medsilo-test-worker:1"
    with packed:
        change = "ENV PATH=/usr/bin"
        made = subprocess.run([podman, "import", "--quiet", "--change", change, "-", tagged], stdin=packed.stdout)
    if made.returncode != 0:
        pytest.skip("podman imports no image here")
    shown = subprocess.run([podman, "inspect", "--format", "{{.Digest}}", tagged], capture_output=True, text=True)
    image = f"localhost/medsilo-test-worker@{shown.stdout.strip()}"
    driver = Container(podman, image, keep_id=os.geteuid() != 0)
    command = driver.command("medsilo-test", ["python3", "-V"], [], Limits())
    tried = subprocess.run(command, capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"podman runs nothing here: {tried.stderr[-200:]}")
    yield driver
    subprocess.run([podman, "rmi", "--force", tagged], capture_output=True)


@pytest.mark.slow
def test_no_probe_gets_out_of_a_container(worker: Container) -> None:
    """The same eighteen attempts as in the first driver."""
    results = run(worker)
    assert [result.name for result in results if not result.held] == []


@pytest.mark.slow
def test_killing_a_container_ends_what_runs_in_it(worker: Container) -> None:
    """Not just the engine's client."""
    jail = worker.start(["python3.11", "-c", "import time; print('up', flush=True); time.sleep(99)"], [], Limits())
    assert jail.read_line(30) == b"up\n"
    names = subprocess.run([worker.engine, "ps", "--format", "{{.Names}}"], capture_output=True, text=True).stdout
    assert "medsilo-" in names
    jail.kill()
    names = subprocess.run([worker.engine, "ps", "--format", "{{.Names}}"], capture_output=True, text=True).stdout
    assert "medsilo-" not in names
