"""The gate: the only place where the body of a request to the hub is made.

It takes declared wire messages, and parts of blobs with a declared purpose, and nothing else; it writes each to the
egress log before it hands out the bytes. The HTTP client sends only what is :class:`Cleared`, and only the gate clears.
"""

from dataclasses import dataclass
from typing import get_args

from silo_node.outbox.egress_log import EgressLog
from silo_node.wire.base import Message
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import WireError
from silo_node.wire.transfers import BlobPurpose

JSON = "application/json"
OCTETS = "application/octet-stream"

_SEAL = object()


@dataclass(frozen=True)
class Cleared:
    """A request body that is in the egress log already."""

    body: bytes | memoryview
    content_type: str
    seal: object
    statement: bool = False
    """Whether it is a signed statement, which is handed in with a proof of its freshness."""

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise TypeError("only the gate clears a request body")


class Gate:
    """Clears request bodies for one node."""

    def __init__(self, log: EgressLog) -> None:
        self._log = log

    def message(self, message: Message, *, method: str, path: str, subject: str = "") -> Cleared:
        """Clear one wire message. ``path`` is a template; ``subject`` the id that stands in it.

        Raises :class:`WireError` for anything that is not declared in ``silo_node.wire``.
        """
        kind = type(message)
        if not isinstance(message, Message) or not kind.__module__.startswith("silo_node.wire."):
            raise WireError("malformed-message", "only a declared wire message may leave")
        body = canonical_bytes(kind.model_validate_json(message.model_dump_json()))
        name = f"Envelope[{message.payloadType}]" if isinstance(message, Envelope) else kind.__name__
        self._log.append(
            method=method, path=path, kind=name, digest=digest_bytes(body), size=len(body), subject=subject
        )
        return Cleared(body, JSON, _SEAL, isinstance(message, Envelope))

    def part(
        self, block: memoryview, *, purpose: BlobPurpose, method: str, path: str, subject: str, offset: int
    ) -> Cleared:
        """Clear one part of a blob that an ``UploadRequest`` announced before."""
        if purpose not in get_args(BlobPurpose):
            raise WireError("malformed-message", "bytes leave for a declared purpose only")
        self._log.append(
            method=method,
            path=path,
            kind=f"bytes:{purpose}",
            digest=digest_bytes(block),
            size=len(block),
            subject=f"{subject}@{offset}",
        )
        return Cleared(block, OCTETS, _SEAL)
