"""A stand-in for the hub that can lie: it signs tasks with the wrong key, for others, or not at all, and goes away."""

import socket
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silo_node.agent.node import Node
from silo_node.config import NodeConfig
from silo_node.hub import Hub
from silo_node.identity import enrol, gate, load_identity
from silo_node.sandbox import choose
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.enrolment import EnrolmentReceipt, HubInformation, SiloStatus
from silo_node.wire.envelope import Envelope, new_key, public_key_text, seal
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import StudyConsentRequest
from silo_node.wire.tasks import ClaimAnswer, EvaluationTask, HeartbeatAnswer, Task
from tests.silo.peer import Exchange, peer

DIGEST = "blake3:" + "a" * 64
SILO = "silo-12345678"


def evaluation(task_id: str = "task-12345678", silo_id: str = SILO) -> Task:
    """Return an evaluation of a benchmark nobody has."""
    return Task(
        task_id=task_id,
        silo_id=silo_id,
        issued=datetime.now(UTC),
        body=EvaluationTask(
            evaluation_id="eval-12345678",
            benchmark=BenchmarkReference(name="chest_phantom", version=1, digest=DIGEST),
            cohort="keyed-blake3:" + "b" * 64,
            models=(ModelReference(digest=DIGEST, size=10),),
            attempt=1,
        ),
    )


@dataclass
class StandIn:
    """What the stand-in offers, and what it was told."""

    key: Ed25519PrivateKey = field(default_factory=new_key)
    tasks: list[Envelope] = field(default_factory=list)
    consents: tuple[StudyConsentRequest, ...] = ()
    shown_key: str | None = None
    lease_code: str | None = None
    """The code heartbeats are refused with."""

    told: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)

    @property
    def public_key(self) -> str:
        return public_key_text(self.key.public_key())

    def offer(self, task: Task, key: Ed25519PrivateKey | None = None) -> None:
        """Offer a task, signed with the hub's key or another."""
        self.tasks.append(seal(task, key or self.key))

    def heard(self, path: str) -> list[dict[str, object]]:
        """Return what was said to paths that end so."""
        return [body for said, body in self.told if said.endswith(path)]

    def __call__(self, exchange: Exchange) -> None:
        path = exchange.path.removeprefix("/api/v1")
        if exchange.received.body:
            import json

            self.told.append((path, json.loads(exchange.received.body)))
        if path == "/hub":
            exchange.say(
                HubInformation(
                    name="Hub", version="0.1.0", wire_versions=(1,), public_key=self.public_key, development=True
                )
            )
        elif path == "/enrolments":
            exchange.say(
                EnrolmentReceipt(
                    silo_id=SILO,
                    silo_name="Fir",
                    token="mss_" + "a" * 43,
                    hub_public_key=self.public_key,
                    wire_version=1,
                )
            )
        elif path == "/silo":
            shown = self.shown_key or self.public_key
            exchange.say(SiloStatus(silo_id=SILO, silo_name="Fir", state="active", hub_public_key=shown))
        elif path == "/tasks/claim":
            task = self.tasks.pop(0) if self.tasks else None
            exchange.say(ClaimAnswer(task=task, lease_seconds=30.0, wait_seconds=0.05, consents=self.consents))
            self.asked.set()
        elif path.endswith("/heartbeat"):
            if self.lease_code is not None:
                exchange.refuse(self.lease_code)
            else:
                exchange.say(HeartbeatAnswer(lease_seconds=30.0, cancelled=False))
        else:
            exchange.send_response(204)
            exchange.end_headers()


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def enrolled(home: Home, hub: StandIn, port: int = 0) -> None:
    """Enrol a home at the stand-in, which listens only meanwhile."""
    home.create()
    with peer(hub, port) as server:
        connection = Hub(server.url, gate(home), NodeConfig())
        try:
            enrol(home, connection, "ABCD-EFGH-2345-6789")
        finally:
            connection.close()


def node_at(home: Home, url: str, **settings: object) -> Node:
    """Return an enrolled node that talks to an address."""
    config = NodeConfig.model_validate({"hub_url": url, **settings})
    return Node(home, config, load_identity(home), choose())


def home_at(tmp_path: Path) -> Home:
    """Return a fresh home."""
    return Home(tmp_path / "node").create()
