"""What stands between a hospital and a hub: a certificate authority, TLS, a forward proxy, and one that opens TLS."""

import base64
import datetime
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from socket import SHUT_RDWR, create_connection, socket
from socketserver import BaseRequestHandler, ThreadingTCPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.silo.peer import Answer, Peer, peer


@dataclass(frozen=True)
class Authority:
    """A certificate authority; ``pem`` is its certificate's file."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    pem: Path

    def context(self, folder: Path, *, days: int = 90) -> ssl.SSLContext:
        """Return a server's context with a fresh certificate for this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        made = _certificate(name, self.name, key, self.key, days).add_extension(names, critical=False)
        file = folder / f"{key.public_key().public_numbers().x:x}.pem"
        file.write_bytes(_pem(key) + made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def authority(folder: Path, organisation: str) -> Authority:
    """Make a certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])
    basic = x509.BasicConstraints(ca=True, path_length=0)
    made = _certificate(name, name, key, key, 3650).add_extension(basic, critical=True)
    file = folder / f"{organisation.replace(' ', '-')}.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return Authority(name, key, file)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days, hours=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    encryption = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@contextmanager
def tls_peer(answer: Answer, context: ssl.SSLContext) -> Iterator[str]:
    """Run a peer behind TLS and yield its address."""
    with peer(answer) as server:
        yield from _behind_tls(server, context)


def _behind_tls(server: Peer, context: ssl.SSLContext) -> Iterator[str]:
    with Tunnel(server.server_address[1], context) as front, running(front):
        yield f"https://localhost:{front.server_address[1]}"


class Tunnel(ThreadingTCPServer):
    """Takes TLS off and hands the bytes to a port of this machine."""

    daemon_threads = True

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port, self.context = port, context
        super().__init__(("127.0.0.1", 0), _Opened)

    def handle_error(self, *_: object) -> None:
        return


class _Opened(BaseRequestHandler):
    server: Tunnel

    def handle(self) -> None:
        with (
            suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as opened,
            create_connection(("127.0.0.1", self.server.port)) as inner,
        ):
            _pump(opened, inner)


@dataclass
class ForwardProxy(ThreadingTCPServer):
    """A forward proxy that knows CONNECT. With ``inspecting`` it answers TLS itself and opens what passes."""

    inspecting: ssl.SSLContext | None = None
    password: str | None = None
    trusted: Path | None = None
    """Where it inspects: the authority of the hub's own certificate."""

    connected: list[str] = field(default_factory=list)
    """Where it was asked to connect to."""

    daemon_threads = True

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connect)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        return


class _Connect(BaseRequestHandler):
    server: ForwardProxy

    def handle(self) -> None:
        with suppress(OSError):
            self._handle()

    def _handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(4096)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        if self.server.password and not self._allowed(head):
            self.request.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        assert method == "CONNECT"
        self.server.connected.append(target)
        host, _, port = target.rpartition(":")
        with create_connection((host, int(port))) as onward:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if self.server.inspecting is None:
                _pump(self.request, onward)
                return
            outside = ssl.create_default_context(cafile=self.server.trusted)
            with (
                self.server.inspecting.wrap_socket(self.request, server_side=True) as near,
                outside.wrap_socket(onward, server_hostname=host) as far,
            ):
                _pump(near, far)

    def _allowed(self, head: bytes) -> bool:
        assert self.server.password is not None
        wanted = base64.b64encode(self.server.password.encode())
        return b"Basic " + wanted in head


def _pump(near: socket, far: socket) -> None:
    """Carry bytes both ways until one side ends."""

    def carry(source: socket, target: socket) -> None:
        with suppress(OSError):
            while block := source.recv(65_536):
                target.sendall(block)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(SHUT_RDWR)

    back = threading.Thread(target=carry, args=(far, near), daemon=True)
    back.start()
    carry(near, far)
    back.join(5)


@contextmanager
def running(server: ThreadingTCPServer) -> Iterator[None]:
    """Serve inside the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def forward_proxy(**options: object) -> Iterator[ForwardProxy]:
    """Run a forward proxy inside the block."""
    with ForwardProxy(**options) as proxy, running(proxy):  # type: ignore[arg-type]
        yield proxy
