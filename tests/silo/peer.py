"""A small HTTP server that stands where a hub would, to answer as no hub should: broken, late, or in another's name."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import BaseModel

from silo_node.wire.errors import PROBLEMS, ProblemDocument


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: "Peer"

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.received = Received(self.command, self.path, dict(self.headers.items()), body)
        self.server.received.append(self.received)
        self.server.answer(self)

    def do_GET(self) -> None:
        self.handle_any()

    def do_POST(self) -> None:
        self.handle_any()

    def do_PATCH(self) -> None:
        self.handle_any()

    def say(
        self, message: BaseModel | bytes, status: int = 200, kind: str = "application/json", **headers: str
    ) -> None:
        """Answer with a message, or with bytes."""
        body = message.model_dump_json().encode() if isinstance(message, BaseModel) else message
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code: str) -> None:
        """Answer with a problem document."""
        problem = PROBLEMS[code]
        document = ProblemDocument(
            type="about:blank", title=problem.title, status=problem.status, code=code, hint=problem.hint
        )
        self.say(document, problem.status, "application/problem+json")

    def send_part_and_hang_up(self, body: bytes, sent: int, status: int = 200) -> None:
        """Promise all the bytes, send some, and close."""
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.wfile.flush()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection without another word."""
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        return


@dataclass
class Peer(ThreadingHTTPServer):
    """A running server; ``answer`` says what it does with each request."""

    answer: Answer
    port: int = 0
    received: list[Received] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)
    daemon_threads = True

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", self.port), Exchange)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        return

    def bodies(self, path: str) -> list[dict[str, object]]:
        """Return the JSON bodies that arrived at paths that end so."""
        return [json.loads(one.body) for one in self.received if one.path.endswith(path) and one.body]


@contextmanager
def peer(answer: Answer, port: int = 0) -> Iterator[Peer]:
    """Run a server inside the block."""
    with Peer(answer, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            for connection in server.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
