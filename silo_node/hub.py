"""The hub as a node sees it: one method for each thing it may ask or tell.

Every body passes the gate. Every answer is parsed as exactly the declared message. Connection trouble is
:class:`HubUnavailable`, which means *later*, and is retried by whoever calls; everything else means *no*.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, TypeAdapter

from silo_node import transfers
from silo_node.config import NodeConfig
from silo_node.outbox.gate import Gate
from silo_node.transfers import Progress, silent
from silo_node.transport import API, Transport, parsed
from silo_node.wire.base import Digest, Identifier, Message, Name
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.canonical import message_digest
from silo_node.wire.cohorts import AssociationView, CohortRecord
from silo_node.wire.digests import hex_part
from silo_node.wire.enrolment import (
    EnrolmentReceipt,
    EnrolmentRequest,
    HubInformation,
    KeyRotationReceipt,
    SiloStatus,
)
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import HubUnavailable, IntegrityError
from silo_node.wire.intake import IntakeEntry, IntakeLog
from silo_node.wire.masking import MaskingView
from silo_node.wire.models import ModelReference
from silo_node.wire.tasks import (
    ClaimAnswer,
    ClaimRequest,
    Decline,
    Heartbeat,
    HeartbeatAnswer,
    ResultAnswer,
    SiloAssociations,
)
from silo_node.wire.transfers import BlobPurpose, BlobReference

M = TypeVar("M", bound=BaseModel)
P = TypeVar("P", "_BenchmarkList", SiloAssociations)
_MOST_PAGES = 40
_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class PublishedBenchmark(BaseModel):
    """A benchmark version as the hub publishes it; other fields of the answer do not matter here."""

    definition: BenchmarkDefinition
    digest: Digest


class BenchmarkLine(BaseModel):
    """One line of the hub's list of benchmarks."""

    name: Name
    version: int
    title: str = ""
    state: str = ""


class _BenchmarkList(BaseModel):
    benchmarks: tuple[BenchmarkLine, ...]
    next: str | None = None


class Hub:
    """The hub, over one connection. Not for several threads; make one in each, they share the egress log's file."""

    def __init__(
        self,
        address: str,
        gate: Gate,
        config: NodeConfig,
        token: str | None = None,
        key: Ed25519PrivateKey | None = None,
    ) -> None:
        self._transport = Transport(address, config, token, key)
        self._gate = gate
        self.address = self._transport.address

    @property
    def server_time(self) -> datetime | None:
        """The hub's clock at its last answer."""
        return self._transport.server_time

    def information(self) -> HubInformation:
        """Ask who the hub is."""
        return self._get("/hub", HubInformation)

    def enrol(self, request: EnrolmentRequest) -> EnrolmentReceipt:
        """Trade a one-time code for an identity."""
        return self._post("/enrolments", request, EnrolmentReceipt)

    def status(self) -> SiloStatus:
        """Ask how the hub sees this silo."""
        return self._get("/silo", SiloStatus)

    def rotate(self, rotation: Envelope) -> KeyRotationReceipt:
        """Let another key and token follow the present ones."""
        return self._post("/silo/rotation", rotation, KeyRotationReceipt)

    def benchmarks(self) -> tuple[BenchmarkLine, ...]:
        """Ask which benchmarks there are."""
        return tuple(line for page in self._pages("/benchmarks", _BenchmarkList) for line in page.benchmarks)

    def benchmark(self, name: str, version: int) -> tuple[BenchmarkDefinition, BenchmarkReference]:
        """Fetch a benchmark version; raises ``digest-mismatch`` where it is not what its digest says."""
        found = self._get(f"/benchmarks/{_NAME.validate_python(name)}/{version:d}", PublishedBenchmark)
        reference = BenchmarkReference(
            name=found.definition.name, version=found.definition.version, digest=message_digest(found.definition)
        )
        if (reference.name, reference.version, reference.digest) != (name, version, found.digest):
            raise IntegrityError("digest-mismatch", f"the definition of {name} {version}")
        return found.definition, reference

    def register_cohort(self, registration: Envelope) -> CohortRecord:
        """Hand in a signed cohort registration."""
        return self._post("/silo/cohorts", registration, CohortRecord)

    def retire_cohort(self, cohort_id: str) -> None:
        """Tell the hub that a cohort is gone; its past results stay."""
        self._transport.request("POST", f"/silo/cohorts/{_checked(cohort_id)}/retire").close()

    def associations(self) -> tuple[AssociationView, ...]:
        """Ask for everything that was asked of the silo, or by it."""
        return tuple(one for page in self._pages("/silo/associations", SiloAssociations) for one in page.associations)

    def decide(self, association_id: str, decision: Envelope) -> None:
        """Hand in a signed yes or no."""
        self._tell("/silo/associations/{}/decision", association_id, decision)

    def claim(self, request: ClaimRequest) -> ClaimAnswer:
        """Ask for work."""
        return self._post("/tasks/claim", request, ClaimAnswer)

    def heartbeat(self, task_id: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Extend a task's lease."""
        return self._post("/tasks/{}/heartbeat", beat, HeartbeatAnswer, task_id)

    def decline(self, task_id: str, decline: Decline) -> None:
        """Say a coded no to a task."""
        self._tell("/tasks/{}/decline", task_id, decline)

    def result(self, task_id: str, result: Envelope) -> ResultAnswer:
        """Hand in a signed answer to a task."""
        return self._post("/tasks/{}/result", result, ResultAnswer, task_id)

    def masking(self, task_id: str) -> MaskingView:
        """Ask where a task's masked round stands."""
        return self._get(f"/tasks/{_checked(task_id)}/masking", MaskingView)

    def state_masking(self, task_id: str, statement: Envelope) -> None:
        """Hand in a signed statement of a masked round."""
        self._tell("/tasks/{}/masking", task_id, statement)

    def intake_log(self) -> Iterator[IntakeEntry]:
        """Ask for everything the hub says it has received from this silo, oldest first."""
        after, more = 0, True
        while more:
            found = self._get(f"/silo/intake-log?after={after:d}", IntakeLog)
            yield from found.entries
            after, more = max((entry.number for entry in found.entries), default=after), found.more

    def fetch_model(self, model: ModelReference, folder: Path, progress: Progress = silent) -> Path:
        """Fetch a bundle to ``folder/<hex>.zip``."""
        blob = BlobReference(digest=model.digest, size=model.size)
        return transfers.download(self._transport, blob, folder, f"{hex_part(model.digest)}.zip", progress)

    def fetch(self, blob: BlobReference, folder: Path, name: str, progress: Progress = silent) -> Path:
        """Fetch a blob to ``folder/name``."""
        return transfers.download(self._transport, blob, folder, name, progress)

    def upload(
        self,
        path: Path,
        purpose: BlobPurpose,
        progress: Progress = silent,
        *,
        expected: BlobReference | None = None,
    ) -> BlobReference:
        """Send a file, going on where an earlier try stopped; with ``expected``, only if it still is that file."""
        return transfers.upload(self._transport, self._gate, path, purpose, progress, expected=expected)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _get(self, path: str, kind: type[M]) -> M:
        return parsed(self._transport.request("GET", path), kind)

    def _pages(self, path: str, kind: type[P]) -> Iterator[P]:
        """Yield a list page by page; raises ``hub-answer-unreadable`` where a hub never comes to its end."""
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            found = self._get(path if cursor is None else f"{path}?cursor={quote(cursor, safe='')}", kind)
            yield found
            cursor = found.next
            if cursor is None:
                return
        raise HubUnavailable("hub-answer-unreadable", f"more than {_MOST_PAGES} pages of a list")

    def _post(self, template: str, message: Message, kind: type[M], identifier: str = "") -> M:
        cleared = self._gate.message(message, method="POST", path=API + template.format("{id}"), subject=identifier)
        return parsed(self._transport.request("POST", template.format(_checked(identifier)), cleared), kind)

    def _tell(self, template: str, identifier: str, message: Message) -> None:
        cleared = self._gate.message(message, method="POST", path=API + template.format("{id}"), subject=identifier)
        self._transport.request("POST", template.format(_checked(identifier)), cleared).close()


def _checked(identifier: str) -> str:
    """Return an id that is safe in a path."""
    return _IDENTIFIER.validate_python(identifier) if identifier else ""
