"""The HTTP client against a server that fails in every way a network can, and against the real hub."""

import json
import os
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from silo_node.config import NodeConfig
from silo_node.hub import Hub
from silo_node.outbox.egress_log import EgressLog
from silo_node.outbox.gate import Gate
from silo_node.wire.digests import digest_bytes
from silo_node.wire.enrolment import HubInformation
from silo_node.wire.errors import ConfigError, HubUnavailable, IntegrityError, MedSiloError, PolicyRefusal, WireError
from silo_node.wire.models import ModelReference
from silo_node.wire.tasks import ClaimAnswer, ClaimRequest, Decline, Heartbeat
from silo_node.wire.transfers import BlobReference, UploadStatus
from tests.conftest import HubProcess
from tests.silo.peer import Answer, Exchange, Peer, peer

BLOB = os.urandom(3_000_000)
REFERENCE = BlobReference(digest=digest_bytes(BLOB), size=len(BLOB))
ASK = ClaimRequest(kinds=("round",))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(EgressLog(tmp_path / "egress.jsonl"))


def client(server: Peer, gate: Gate, **settings: object) -> Hub:
    """Return a client of a server, impatient."""
    config = NodeConfig.model_validate({"read_timeout_seconds": 2.0, **settings})
    return Hub(server.url, gate, config, "mss_" + "t" * 40)


def ask(answer: Answer, gate: Gate, **settings: object) -> ClaimAnswer:
    """Ask a server that answers so for work."""
    with peer(answer) as server:
        hub = client(server, gate, **settings)
        try:
            return hub.claim(ASK)
        finally:
            hub.close()


def test_a_request_names_its_wire_version_and_its_token(gate: Gate) -> None:
    """And asks for no compression: what is hashed is what is sent."""
    answer = ClaimAnswer(task=None, lease_seconds=1.0, wait_seconds=1.0)
    with peer(lambda exchange: exchange.say(answer)) as server:
        hub = client(server, gate)
        assert hub.claim(ASK) == answer
        hub.close()
        headers = server.received[0].headers
    assert headers["MedSilo-Wire"] == "1"
    assert headers["Authorization"] == "Bearer mss_" + "t" * 40
    assert headers["Accept-Encoding"] == "identity"


def test_a_password_file_of_the_user_does_not_replace_the_token(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests would send what ~/.netrc has for the host."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    answer = ClaimAnswer(task=None, lease_seconds=1.0, wait_seconds=1.0)
    with peer(lambda exchange: exchange.say(answer)) as server:
        hub = client(server, gate)
        hub.claim(ASK)
        hub.close()
        assert server.received[0].headers["Authorization"].startswith("Bearer mss_")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("lease-lost", WireError),
        ("silo-not-active", WireError),
        ("policy-study", PolicyRefusal),
        ("digest-mismatch", IntegrityError),
        ("internal-error", HubUnavailable),
        ("unavailable", HubUnavailable),
        ("rate-limited", HubUnavailable),
    ],
)
def test_a_problem_of_the_hub_becomes_its_error(gate: Gate, code: str, kind: type[MedSiloError]) -> None:
    """With its code; what may pass later is an unavailable hub."""
    with pytest.raises(kind) as caught:
        ask(lambda exchange: exchange.refuse(code), gate)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "answer",
    [
        lambda exchange: exchange.say(b"<html>Please log in to the guest network</html>", kind="text/html"),
        lambda exchange: exchange.say(b"<html>Bad gateway</html>", 502, "text/html"),
        lambda exchange: exchange.say(b"{}"),
        lambda exchange: exchange.say(b'{"task":null,"lease_seconds":1,"wait_seconds":1,"extra":1}'),
        lambda exchange: exchange.say(b'{"task":null,"lease_seconds":1,"lease_seconds":2,"wait_seconds":1}'),
        lambda exchange: exchange.say(b"[" * 100_000),
        lambda exchange: exchange.say(b"", 302, Location="http://127.0.0.1:1/steal"),
        lambda exchange: exchange.say(b'{"code":"lease-lost"}', 409, "application/problem+json"),
    ],
)
def test_an_answer_that_is_not_the_hubs_is_not_believed(gate: Gate, answer: Answer) -> None:
    """A captive portal, a proxy's error page, an undeclared field, a redirect: none is an answer."""
    with pytest.raises(HubUnavailable) as caught:
        ask(answer, gate)
    assert caught.value.code == "hub-answer-unreadable"


def test_a_redirect_does_not_carry_the_token_elsewhere(gate: Gate) -> None:
    """The token goes to the address that was enrolled with."""
    with peer(lambda exchange: exchange.say(b"{}")) as other:
        with pytest.raises(HubUnavailable):
            ask(lambda exchange: exchange.say(b"", 307, Location=f"{other.url}/api/v1/tasks/claim"), gate)
        assert other.received == []


def test_a_hub_that_hangs_up_or_says_nothing_is_unavailable(gate: Gate) -> None:
    """No call waits for ever."""
    with pytest.raises(HubUnavailable):
        ask(lambda exchange: exchange.hang_up(), gate)
    silence = threading.Event()
    with pytest.raises(HubUnavailable) as caught:
        ask(lambda exchange: silence.wait(3) and None, gate, read_timeout_seconds=0.2)
    silence.set()
    assert caught.value.code == "hub-unreachable"
    unused = Hub("http://127.0.0.1:9", gate, NodeConfig())
    with pytest.raises(HubUnavailable):
        unused.information()
    unused.close()


def test_a_proxy_of_the_configuration_is_used(gate: Gate) -> None:
    """A hospital reaches the outside through one proxy only."""
    answer = ClaimAnswer(task=None, lease_seconds=1.0, wait_seconds=1.0)
    with peer(lambda exchange: exchange.say(answer)) as proxy:
        hub = Hub("http://hub.example.invalid", gate, NodeConfig(proxy=proxy.url), "mss_" + "t" * 40)
        assert hub.claim(ASK) == answer
        hub.close()
        assert proxy.received[0].path == "http://hub.example.invalid/api/v1/tasks/claim"


def test_an_id_that_would_lead_elsewhere_is_not_put_in_a_path(gate: Gate) -> None:
    """Ids come from the hub, and are checked like everything that does."""
    with peer(lambda exchange: exchange.say(b"{}")) as server:
        hub = client(server, gate)
        with pytest.raises(ValueError, match="String should match"):
            hub.decline("../../../admin", Decline(code="work-failed"))
        hub.close()
        assert server.received == []


def test_a_broken_download_goes_on_where_it_stopped(gate: Gate, tmp_path: Path) -> None:
    """What arrived is kept, out of sight, and the digest covers all of it."""
    breaks = iter([1_000_000, 500_000])

    def answer(exchange: Exchange) -> None:
        begin = int(exchange.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        sent = next(breaks, None)
        status = 206 if begin else 200
        if sent is None:
            exchange.say(BLOB[begin:], status, "application/octet-stream")
        else:
            exchange.send_part_and_hang_up(BLOB[begin:], sent, status)

    with peer(answer) as server:
        hub = client(server, gate)
        for _ in range(2):
            with pytest.raises(HubUnavailable):
                hub.fetch(REFERENCE, tmp_path, "weights")
            assert not (tmp_path / "weights").exists()
        steps: list[int] = []
        found = hub.fetch(REFERENCE, tmp_path, "weights", lambda done, total: steps.append(done))
        hub.close()
        ranges = [one.headers.get("Range") for one in server.received]
    assert found.read_bytes() == BLOB
    assert ranges == [None, "bytes=1000000-", "bytes=1500000-"]
    assert steps[-1] == len(BLOB)
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(("sent", "code"), [(BLOB[:-1] + b"!", "digest-mismatch"), (BLOB + b"more", "size-mismatch")])
def test_other_bytes_than_the_reference_names_are_not_kept(gate: Gate, tmp_path: Path, sent: bytes, code: str) -> None:
    """A model is what its digest says, or it is not there."""
    with peer(lambda exchange: exchange.say(sent, kind="application/octet-stream")) as server:
        hub = client(server, gate)
        with pytest.raises(MedSiloError) as caught:
            hub.fetch(REFERENCE, tmp_path, "weights")
        hub.close()
    assert caught.value.code == code
    assert not (tmp_path / "weights").exists()


def test_a_file_that_is_there_is_not_fetched_again(gate: Gate, tmp_path: Path) -> None:
    """Bundles are kept by digest."""
    with peer(lambda exchange: exchange.say(BLOB, kind="application/octet-stream")) as server:
        hub = client(server, gate)
        model = ModelReference(digest=REFERENCE.digest, size=REFERENCE.size)
        assert hub.fetch_model(model, tmp_path) == hub.fetch_model(model, tmp_path)
        hub.close()
        assert len(server.received) == 1


class Store:
    """The upload side of a hub, kept to the contract, that breaks where it is told to."""

    def __init__(self, breaks: list[int]) -> None:
        self.data = bytearray()
        self._breaks = breaks

    def __call__(self, exchange: Exchange) -> None:
        if exchange.command == "PATCH":
            offset = int(exchange.headers["Upload-Offset"])
            if offset != len(self.data):
                exchange.refuse("offset-mismatch")
                return
            taken = self._breaks.pop(0) if self._breaks else None
            self.data += exchange.received.body[:taken]
            if taken is not None:
                exchange.hang_up()
                return
        complete = digest_bytes(self.data) == REFERENCE.digest
        exchange.say(
            UploadStatus(upload_id="upl-12345678", offset=len(self.data), chunk_bytes=1_000_000, complete=complete)
        )


def test_a_broken_upload_goes_on_at_the_hubs_offset(gate: Gate, tmp_path: Path) -> None:
    """And every part that was sent is in the egress log, byte for byte, also the one that broke."""
    (tmp_path / "update").write_bytes(BLOB)
    store = Store([400_000])
    with peer(store) as server:
        hub = client(server, gate)
        with pytest.raises(HubUnavailable):
            hub.upload(tmp_path / "update", "update")
        assert hub.upload(tmp_path / "update", "update") == REFERENCE
        hub.close()
        sent = [digest_bytes(one.body) for one in server.received if one.body]
    assert bytes(store.data) == BLOB
    logged = [entry.departure.digest for entry in EgressLog(tmp_path / "egress.jsonl").entries()]
    assert logged == sent
    assert len(logged) == 6


def test_a_file_changed_since_it_was_judged_does_not_leave(gate: Gate, tmp_path: Path) -> None:
    """Not even its announcement."""
    (tmp_path / "update").write_bytes(BLOB + b"patient")
    with peer(Store([])) as server:
        hub = client(server, gate)
        with pytest.raises(IntegrityError, match="digest-mismatch"):
            hub.upload(tmp_path / "update", "update", expected=REFERENCE)
        hub.close()
        assert server.received == []


def test_a_hub_that_never_accepts_what_it_has_is_not_asked_for_ever(gate: Gate, tmp_path: Path) -> None:
    """All bytes there and still not complete: the hub is not done with them, and is asked again later."""
    (tmp_path / "update").write_bytes(BLOB)
    status = UploadStatus(upload_id="upl-12345678", offset=len(BLOB), chunk_bytes=1_000_000, complete=False)
    with peer(lambda exchange: exchange.say(status)) as server:
        hub = client(server, gate)
        with pytest.raises(HubUnavailable, match="unavailable"):
            hub.upload(tmp_path / "update", "update")
        hub.close()


@pytest.fixture
def stranger(hub: HubProcess, gate: Gate) -> Iterator[Hub]:
    """A client of the real hub that has not enrolled."""
    found = Hub(hub.url, gate, NodeConfig())
    yield found
    found.close()


def test_the_real_hub_says_who_it_is_and_what_time_it_is(stranger: Hub) -> None:
    """Anyone may know that much."""
    assert isinstance(stranger.information(), HubInformation)
    assert stranger.server_time is not None
    assert stranger.benchmarks() == () or stranger.benchmarks()[0].version >= 1


def test_the_real_hub_refuses_a_stranger_with_a_code(stranger: Hub) -> None:
    """Each call of a silo needs its token."""
    calls = (
        lambda: stranger.status(),
        lambda: stranger.claim(ASK),
        lambda: stranger.heartbeat("task-12345678", Heartbeat(state="running", done=0, total=0)),
    )
    for call in calls:
        with pytest.raises(WireError) as caught:
            call()
        assert caught.value.code == "not-authenticated"


def test_a_benchmark_that_is_not_there_is_told_so(stranger: Hub) -> None:
    """By a code, as everything else."""
    with pytest.raises(WireError) as caught:
        stranger.benchmark("no_such_benchmark", 1)
    assert caught.value.code == "benchmark-unknown"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate authority of a hospital's inspecting proxy, and its certificate and key for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Hospital proxy")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "ca.pem").write_bytes(pem)
    (tmp_path / "server.pem").write_bytes(private + pem)
    return tmp_path / "ca.pem", tmp_path / "server.pem"


def test_a_certificate_is_trusted_only_by_the_system_or_by_the_configured_bundle(
    gate: Gate, certificate: tuple[Path, Path]
) -> None:
    """A hospital's own authority is one line of configuration; without it the node says which."""
    authority, server_file = certificate
    answer = ClaimAnswer(task=None, lease_seconds=1.0, wait_seconds=1.0)
    with peer(lambda exchange: exchange.say(answer)) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        address = server.url.replace("http:", "https:")
        trusting = Hub(address, gate, NodeConfig(ca_bundle=authority), "mss_" + "t" * 40)
        assert trusting.claim(ASK) == answer
        trusting.close()
        stranger = Hub(address, gate, NodeConfig(), "mss_" + "t" * 40)
        with pytest.raises(HubUnavailable, match="ca_bundle"):
            stranger.claim(ASK)
        stranger.close()
        assert len(server.received) == 1
    with pytest.raises(ConfigError, match="ca_bundle"):
        Hub(address, gate, NodeConfig(ca_bundle=authority.parent / "absent.pem"))


def test_a_list_is_asked_for_to_its_end(gate: Gate) -> None:
    """The cursor goes back as it came, whatever is in it; a hub that never comes to an end is given up."""
    pages = {"": ("one", "a b&c=/d"), "?cursor=a%20b%26c%3D%2Fd": ("two", None)}

    def answer(exchange: Exchange) -> None:
        name, following = pages[exchange.path.removeprefix("/api/v1/benchmarks")]
        exchange.say(json.dumps({"benchmarks": [{"name": name, "version": 1}], "next": following}).encode())

    def endless(exchange: Exchange) -> None:
        exchange.say(b'{"associations": [], "next": "again"}')

    with peer(answer) as server:
        hub = client(server, gate)
        assert [line.name for line in hub.benchmarks()] == ["one", "two"]
        hub.close()
    with peer(endless) as server, pytest.raises(HubUnavailable, match="pages"):
        client(server, gate).associations()
