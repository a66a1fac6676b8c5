"""A forward proxy as hospitals have one, which keeps every request that went through it."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = ("connection", "proxy-connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length")


@dataclass(frozen=True)
class Passed:
    """One request that went through."""

    method: str
    path: str
    token: str
    """The kind of its bearer token: ``mss`` of a silo, ``msp`` of a person, or nothing."""

    body: bytes


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Proxy"

    def pass_on(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")[:3]
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        with self.server.lock:
            self.server.passed.append(Passed(self.command, path, token, body))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        behind = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
        try:
            behind.request(self.command, path, body or None, headers)
            answer = behind.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        finally:
            behind.close()

    def do_GET(self) -> None:
        self.pass_on()

    def do_POST(self) -> None:
        self.pass_on()

    def do_PATCH(self) -> None:
        self.pass_on()

    def log_message(self, *_: object) -> None:
        return


@dataclass
class Proxy(ThreadingHTTPServer):
    """A running proxy, and what went through it in the order it came."""

    passed: list[Passed] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    daemon_threads = True

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        return


@contextmanager
def recording_proxy() -> Iterator[Proxy]:
    """Run a proxy inside the block."""
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
