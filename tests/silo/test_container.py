"""The second driver: what it asks the engine for, and, where podman runs, that the same probes are held."""

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
from tests.silo.containers import engine_settings, image

IMAGE = "registry.example.org/medsilo/worker@sha256:" + "a" * 64


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


def test_a_model_with_code_gets_its_own_image_and_nothing_of_ours(tmp_path: Path) -> None:
    """Two folders of the task, no package of the kit, no path of this machine."""
    driver = Container("/usr/bin/podman", IMAGE).of_model("example.org/model@sha256:" + "b" * 64)
    binds = [Bind(tmp_path, "/input"), Bind(tmp_path, "/output", writable=True)]
    line = driver.command("name", ["/predict", "--all"], binds, Limits())
    pairs = set(pairwise(line))
    assert {word.split(":")[1] for flag, word in pairs if flag == "--volume"} == {"/input", "/output"}
    assert not [word for flag, word in pairs if flag == "--env" and word.startswith(("PATH=", "PYTHONPATH="))]
    assert line[-4:] == ["--entrypoint", "/predict", "example.org/model@sha256:" + "b" * 64, "--all"]
    assert ("--network", "none") in pairs
    assert "--read-only" in line


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
    for named in ("medsilo/worker", "medsilo/worker:1.0", "medsilo/worker@sha256:abc"):
        with pytest.raises(ValueError, match="pattern"):
            SandboxSettings(driver="podman", image=named)
    SandboxSettings(driver="podman", image=IMAGE)


def test_a_driver_that_is_chosen_and_missing_is_no_reason_to_run_without() -> None:
    """Nor to fall back to another."""
    with pytest.raises(SandboxUnavailable):
        sandbox_of(NodeConfig(sandbox=SandboxSettings(driver="docker", image=IMAGE)))
    with pytest.raises(SandboxUnavailable, match=r"names no image|not installed"):
        sandbox_of(NodeConfig(sandbox=SandboxSettings(driver="podman")))


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A podman that runs here, with an image made of this machine's own Python."""
    with engine_settings(tmp_path_factory.mktemp("podman")), image("worker") as driver:
        yield driver


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
