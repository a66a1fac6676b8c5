"""Orthanc with its DICOMweb plugin as the hospital's PACS, in a network namespace of its own.

Orthanc 1.10 binds every interface of the machine, on both its ports, whatever its settings say. In a namespace there is
no other interface than its own loopback; the tests reach it through a relay, and it reaches the node's listener so.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.silo.pacs import relay
from tests.silo.pacs.dcmtk import program

USER, PASSWORD = "node", "correct horse"
_HTTP, _DICOM, _BACK = 8042, 4242, 11112
_START_SECONDS = 60


@dataclass(frozen=True)
class Orthanc:
    """A running PACS. All ports are of this machine's 127.0.0.1."""

    http: int
    dicom: int
    listener: int
    """Where it reaches the node: what is moved to MEDSILO goes here."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Make a request to Orthanc's own interface."""
        answer = requests.request(method, self.url + path, auth=(USER, PASSWORD), timeout=30, **options)
        answer.raise_for_status()
        return answer

    def upload(self, files: Sequence[Path]) -> None:
        """Give it files; what it has already stays."""
        for file in files:
            self.call("POST", "/instances", data=file.read_bytes())

    def clear(self) -> None:
        """Delete everything it has."""
        for patient in self.call("GET", "/patients").json():
            self.call("DELETE", f"/patients/{patient}")


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """Run a PACS inside the block; it is stopped by its own process and its data are in ``folder``."""
    plugin = next((path for path in _plugin_places() if path.exists()), None)
    orthanc = program("Orthanc")
    (folder / "configuration.json").write_text(json.dumps(_configuration(folder, plugin)))
    program("unshare")
    command = ["unshare", "-rn", sys.executable, relay.__file__, str(folder), str(_HTTP), str(_DICOM), str(_BACK)]
    command += [orthanc, str(folder / "configuration.json")]
    listener = free_port()
    relay.forward(relay.listen_unix(folder / "back"), relay.tcp(listener))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    servers = [relay.listen_tcp(), relay.listen_tcp()]
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", (folder / "log").read_text()
        for server, name in zip(servers, ("http", "dicom"), strict=True):
            relay.forward(server, relay.unix(folder / name))
        peer = Orthanc(*(int(server.getsockname()[1]) for server in servers), listener)
        _wait_until_it_answers(peer, process, folder / "log")
        yield peer
    finally:
        for server in servers:
            server.close()
        process.communicate(timeout=30)


def _wait_until_it_answers(peer: Orthanc, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            peer.call("GET", "/system")
            return
        except requests.RequestException:
            time.sleep(0.05)
    raise RuntimeError(f"Orthanc did not start: {log.read_text()}")


def _plugin_places() -> list[Path]:
    folders = (Path("/usr/share/orthanc/plugins"), Path("/usr/local/share/orthanc/plugins"))
    return [folder / "libOrthancDicomWeb.so" for folder in folders]


def _configuration(folder: Path, plugin: Path | None) -> dict[str, Any]:
    (folder / "storage").mkdir()
    return {
        "Name": "PACS",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)] if plugin else [],
        "HttpPort": _HTTP,
        "DicomPort": _DICOM,
        "DicomAet": "PACS",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowMove": False,
        "DicomModalities": {"node": ["MEDSILO", "127.0.0.1", _BACK]},
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "OverwriteInstances": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def unavailable() -> str | None:
    """Return why Orthanc cannot run here, or None."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        return "no user and network namespaces here, without which Orthanc would listen on every interface"
    if not any(path.exists() for path in _plugin_places()):
        return "Orthanc's DICOMweb plugin is not installed; run tests/install-system-packages"
    return None
