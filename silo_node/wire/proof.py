"""Proof that a signed statement is handed in now, by whoever holds the key, and for the first time.

A statement is signed for ever and may wait for days until a person releases it. So that nobody who recorded it, such as
a TLS-inspecting proxy, can hand it in again, the *request* that carries it is signed too: method, path, digest of the
body, time and a nonce, in one header. The hub takes it within two minutes of its own clock and each nonce once.
Source of the shape: RFC 9421, of which this is the part that is needed here.
"""

import base64
import binascii
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from silo_node.wire.base import Digest, Message, Timestamp
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import payload_type, pre_authentication_encoding, public_key_from_text
from silo_node.wire.errors import WireError

PROOF_HEADER = "MedSilo-Proof"
WINDOW = timedelta(minutes=2)
_LONGEST = 300


class RequestProof(Message):
    """What the header's signature covers."""

    method: Annotated[str, Field(pattern=r"^[A-Z]{3,7}$")]
    path: Annotated[str, Field(pattern=r"^/[!-~]{1,199}$")]
    """The path at the hub, ``/api/v1/tasks/task-.../result``."""

    body: Digest
    issued: Timestamp
    nonce: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22}$")]
    """128 random bits."""


def prove(key: Ed25519PrivateKey, method: str, path: str, body: bytes | memoryview, now: datetime) -> str:
    """Return the header's value for one request."""
    proof = RequestProof(method=method, path=path, body=digest_bytes(body), issued=now, nonce=secrets.token_urlsafe(16))
    signature = base64.b64encode(key.sign(_signed(proof))).decode()
    return f"{int(now.timestamp() * 1000)}.{proof.nonce}.{signature}"


def check_proof(
    header: str | None, method: str, path: str, body: bytes, public_keys: Sequence[str], now: datetime
) -> RequestProof:
    """Return the proof of a request; its nonce must then be looked up.

    Raises :class:`WireError`: ``proof-missing``, ``proof-invalid``, ``clock-skew``.
    """
    if header is None:
        raise WireError("proof-missing")
    proof, signature = _read(header, method, path, body)
    if not any(_fits(proof, signature, public_key) for public_key in public_keys):
        raise WireError("proof-invalid")
    if abs(now - proof.issued) > WINDOW:
        raise WireError("clock-skew")
    return proof


def _read(header: str, method: str, path: str, body: bytes) -> tuple[RequestProof, bytes]:
    moment, _, rest = header[:_LONGEST].partition(".")
    nonce, _, signature = rest.partition(".")
    try:
        issued = datetime.fromtimestamp(int(moment) / 1000, UTC)
        proof = RequestProof(method=method, path=path, body=digest_bytes(body), issued=issued, nonce=nonce)
        return proof, base64.b64decode(signature, validate=True)
    except (ValidationError, ValueError, OverflowError, OSError, binascii.Error):
        raise WireError("proof-invalid") from None


def _fits(proof: RequestProof, signature: bytes, public_key: str) -> bool:
    try:
        public_key_from_text(public_key).verify(signature, _signed(proof))
    except InvalidSignature:
        return False
    return True


def _signed(proof: RequestProof) -> bytes:
    # To the millisecond, as the header tells it.
    moment = proof.issued.replace(microsecond=proof.issued.microsecond // 1000 * 1000)
    return pre_authentication_encoding(
        payload_type(RequestProof), canonical_bytes(proof.model_copy(update={"issued": moment}))
    )
