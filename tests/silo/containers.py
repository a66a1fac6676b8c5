"""Images for podman, made of this machine's own Python: no registry is asked for anything."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from silo_node.sandbox import Limits
from silo_node.sandbox.container import Container

LIBRARIES = "usr/lib/x86_64-linux-gnu"
PARTS = ["usr/bin/python3", "usr/bin/python3.11", "usr/lib/python3.11", "lib64/ld-linux-x86-64.so.2"]
PARTS += [f"{LIBRARIES}/lib{name}" for name in ("c.so.6", "m.so.6", "z.so.1", "expat.so.1", "ffi.so.8")]


@contextmanager
def engine_settings(folder: Path) -> Iterator[None]:
    """Let podman use runc where it is there: crun refuses machines with both kinds of control groups."""
    runc = shutil.which("runc", path="/usr/sbin:/usr/bin")
    with pytest.MonkeyPatch.context() as patch:
        if runc is not None:
            file = folder / "containers.conf"
            file.write_text(f'[engine]\nruntime = "{runc}"\n')
            patch.setenv("CONTAINERS_CONF", str(file))
        yield


@contextmanager
def image(name: str, more: Path | None = None) -> Iterator[Container]:
    """Import an image with Python and the files of a folder; yield podman with it, tried, or skip the test."""
    podman = shutil.which("podman")
    if podman is None or not all((Path("/") / part).exists() for part in PARTS):
        pytest.skip("no podman here, or no Python of the distribution's to make an image of")
    words = ["tar", "--create", "--dereference", "--exclude=dist-packages", "--exclude=test", "-C", "/", *PARTS]
    words += [] if more is None else ["-C", str(more), *(path.name for path in more.iterdir())]
    tagged = f"localhost/medsilo-test-{name}:1"
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as packed:
        change = "ENV PATH=/usr/bin"
        made = subprocess.run(
            [podman, "import", "--quiet", "--change", change, "-", tagged], stdin=packed.stdout, capture_output=True
        )
    if made.returncode != 0:
        pytest.skip("podman imports no image here")
    shown = subprocess.run([podman, "inspect", "--format", "{{.Digest}}", tagged], capture_output=True, text=True)
    digest = f"localhost/medsilo-test-{name}@{shown.stdout.strip()}"
    driver = Container(podman, digest, keep_id=os.geteuid() != 0)
    tried = subprocess.run(
        driver.command(f"medsilo-test-{name}", ["python3", "-V"], [], Limits()), capture_output=True, text=True
    )
    if tried.returncode != 0:
        pytest.skip(f"podman runs nothing here: {tried.stderr[-200:]}")
    yield driver
    subprocess.run([podman, "rmi", "--force", tagged], capture_output=True)
