"""A real PostgreSQL server of the tests' own: a fresh cluster in a temporary folder, on a free port of 127.0.0.1."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 60


def programs() -> Path | None:
    """Return the folder of the newest server's programs, None where there is no PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    return Path(named).parent if named else None


@contextmanager
def running(bin_folder: Path) -> Iterator[str]:
    """Run a server and yield the URL of its database. It is stopped by its own process id."""
    # PostgreSQL will not run as root; the pytest folders are closed to everybody else.
    user = "postgres" if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="medsilo-pg-") as name:
        folder = Path(name)
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        data = folder / "data"
        make = [str(bin_folder / "initdb"), "-D", str(data), "-U", "medsilo", "-A", "trust", "-N", "-E", "UTF8"]
        subprocess.run(make, check=True, capture_output=True, user=user, cwd=folder)
        port = _free_port()
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "fsync": "off"}
        called = [str(bin_folder / "postgres"), "-D", str(data), "-p", str(port)]
        called += [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        server = subprocess.Popen(called, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(server, bin_folder, port)
            yield f"postgresql+psycopg://medsilo@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def _wait_for(server: "subprocess.Popen[bytes]", bin_folder: Path, port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    ask = [str(bin_folder / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask).returncode != 0:
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError("PostgreSQL did not start")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
