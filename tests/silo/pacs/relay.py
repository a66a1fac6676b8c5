"""Carries TCP connections through a Unix socket, which is how the two sides of a network namespace meet.

Run as a program it is the inner side: ``python relay.py FOLDER HTTP DICOM BACK COMMAND...`` brings the loopback device
up, forwards ``FOLDER/http`` and ``FOLDER/dicom`` to those ports of its own 127.0.0.1, its port BACK to ``FOLDER/back``,
and runs COMMAND. Nothing but the standard library is imported, so that it starts at once.
"""

import fcntl
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

Dial = Callable[[], socket.socket]


def loopback_up() -> None:
    """Bring up ``lo``, which is down in a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        set_flags, up_and_running = 0x8914, 0x1 | 0x40
        fcntl.ioctl(control, set_flags, struct.pack("16sh14x", b"lo", up_and_running))


def tcp(port: int) -> Dial:
    return lambda: socket.create_connection(("127.0.0.1", port))


def unix(path: Path) -> Dial:
    def dial() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        return connection

    return dial


def listen_unix(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(64)
    return server


def listen_tcp(port: int = 0) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=64)


def forward(server: socket.socket, dial: Dial) -> None:
    """Carry every connection to ``server`` on to where ``dial`` leads, until the server is closed."""
    threading.Thread(target=_accept, args=(server, dial), daemon=True).start()


def _accept(server: socket.socket, dial: Dial) -> None:
    while True:
        try:
            near, _ = server.accept()
        except OSError:
            return
        try:
            far = dial()
        except OSError:
            near.close()
            continue
        threading.Thread(target=_join, args=(near, far), daemon=True).start()


def _join(near: socket.socket, far: socket.socket) -> None:
    with near, far:
        back = threading.Thread(target=_carry, args=(far, near), daemon=True)
        back.start()
        _carry(near, far)
        back.join()


def _carry(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    for end in (one, other):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


def main(folder: Path, http: int, dicom: int, back: int, command: list[str]) -> int:
    loopback_up()
    forward(listen_unix(folder / "http"), tcp(http))
    forward(listen_unix(folder / "dicom"), tcp(dicom))
    forward(listen_tcp(back), unix(folder / "back"))
    peer = subprocess.Popen(command)
    print("ready", flush=True)
    # The end of standard input is the wish to stop; it comes by itself when the test process dies.
    sys.stdin.read()
    peer.terminate()
    return peer.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))
