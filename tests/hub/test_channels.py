"""Large bodies over a real socket: the same bytes by the short cuts and without them, and buffers that come back."""

import hashlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
import requests
from flask import Flask, Response, request, send_file
from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from federation_hub.channels import BodyPool, channel_class
from federation_hub.hanging_up import hang_up

SIZE = 3_000_000
CONTENT = bytes(range(256)) * (SIZE // 256)


class CountingPool(BodyPool):
    """A pool that counts what was taken and what came back."""

    def __init__(self, *, buffers: int, size: int) -> None:
        super().__init__(buffers=buffers, size=size)
        self.taken = self.returned = 0

    def take(self, length: int) -> bytearray | None:
        memory = super().take(length)
        self.taken += memory is not None
        return memory

    def give_back(self, memory: bytearray) -> None:
        self.returned += 1
        super().give_back(memory)


@contextmanager
def served(app: Flask, pool: BodyPool) -> Iterator[str]:
    """Serve an application on a free port as the hub is served."""
    channels: dict[int, wasyncore.dispatcher] = {}
    usual, BaseWSGIServer.channel_class = BaseWSGIServer.channel_class, channel_class(pool)
    server = create_server(app, host="127.0.0.1", port=0, threads=4, inbuf_overflow=100_000, map=channels)
    stopping = Event()

    def run() -> None:
        while not stopping.is_set():
            wasyncore.loop(timeout=0.05, map=channels, count=1, use_poll=True)
        for channel in list(channels.values()):
            channel.close()

    thread = Thread(target=run)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    stopping.set()
    thread.join()
    server.task_dispatcher.shutdown()
    BaseWSGIServer.channel_class = usual


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    application = Flask("bodies")
    path = tmp_path / "content"
    path.write_bytes(CONTENT)

    @application.get("/content")
    def content() -> Response:
        return send_file(path, mimetype="application/octet-stream", conditional=True)

    @application.get("/later")
    def later() -> str:
        hang_up()
        return "ask again"

    @application.post("/digest")
    def digest() -> str:
        return hashlib.sha256(request.get_data()).hexdigest()

    return application


@pytest.fixture
def pool() -> CountingPool:
    return CountingPool(buffers=4, size=SIZE)


@pytest.fixture
def url(app: Flask, pool: CountingPool) -> Iterator[str]:
    with served(app, pool) as address:
        yield address


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_arrives_whole_and_from_any_offset(url: str) -> None:
    assert requests.get(f"{url}/content", timeout=10).content == CONTENT
    part = requests.get(f"{url}/content", headers={"Range": "bytes=1234567-"}, timeout=10)
    assert (part.status_code, part.content) == (206, CONTENT[1234567:])


def test_one_connection_takes_many_files_one_after_the_other(url: str) -> None:
    """Headers, a file, headers, a file: nothing is left over or mixed up."""
    with requests.Session() as session:
        for _ in range(5):
            assert session.get(f"{url}/content", timeout=10).content == CONTENT
            assert session.post(f"{url}/digest", data=b"small", timeout=10).text == sha256(b"small")


def test_a_connection_ends_with_its_answer_where_the_application_hangs_up(url: str) -> None:
    """The client is told so, and its next request is answered over another connection."""
    with requests.Session() as session:
        kept = session.post(f"{url}/digest", data=b"small", timeout=10)
        ended = session.get(f"{url}/later", timeout=10)
        assert (kept.headers.get("Connection"), ended.headers["Connection"]) == (None, "close")
        assert ended.text == "ask again"
        assert session.post(f"{url}/digest", data=b"small", timeout=10).text == sha256(b"small")
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as bare:
        bare.sendall(b"GET /later HTTP/1.1\r\nHost: hub\r\n\r\n")
        answer = b"".join(iter(lambda: bare.recv(4096), b""))
    assert answer.endswith(b"ask again")


def test_bodies_of_any_size_arrive_whole(url: str, pool: CountingPool) -> None:
    """Small ones the usual way, large ones in a buffer of the pool, too large ones in a temporary file."""
    with requests.Session() as session:
        for size in (0, 10, 99_999, 100_001, SIZE - 1, SIZE, SIZE + 1):
            body = (CONTENT + CONTENT)[:size]
            assert session.post(f"{url}/digest", data=body, timeout=10).text == sha256(body)
    assert pool.taken == pool.returned == 3


def test_more_bodies_than_buffers_arrive_whole(url: str, pool: CountingPool) -> None:
    """Those who find no buffer free go through temporary files; the buffers are used again."""
    answers: list[str] = []

    def send(number: int) -> None:
        body = CONTENT[number:]
        answers.append(str(requests.post(f"{url}/digest", data=body, timeout=20).text == sha256(body)))

    senders = [Thread(target=send, args=(number,)) for number in range(12)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert answers == ["True"] * 12
    assert pool.taken == pool.returned >= 2


def test_a_connection_that_breaks_in_mid_body_gives_its_buffer_back(url: str, pool: CountingPool) -> None:
    host, port = url.removeprefix("http://").split(":")
    for number in range(1, 6):
        with socket.create_connection((host, int(port))) as broken:
            broken.sendall(b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(200_000))
        end = time.monotonic() + 10
        while pool.returned < number:
            assert time.monotonic() < end, "the buffer did not come back"
            time.sleep(0.01)
    assert pool.taken == 5
