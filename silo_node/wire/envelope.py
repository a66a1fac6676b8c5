"""DSSE envelopes with Ed25519: who states what, verifiable long after the connection is gone.

The signature covers DSSE's pre-authentication encoding (PAE) of the payload type and the canonical bytes, so a
TLS-inspecting proxy between a hospital and the hub changes nothing about integrity.
Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

import base64
import binascii
from typing import Annotated, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from silo_node.wire.base import Message
from silo_node.wire.canonical import canonical_bytes, parse_object
from silo_node.wire.digests import digest_bytes, hex_part

Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$", description="Raw Ed25519 public key, base64.")]
M = TypeVar("M", bound=Message)


class BadEnvelope(ValueError):
    """An envelope that is not what it says: another type, another key, a broken signature, an undeclared field."""


class Signature(Message):
    """One signature and the key it was made with."""

    keyid: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    sig: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]


class Envelope(Message):
    """A DSSE envelope: the payload's type, its exact bytes and at least one signature over both."""

    payloadType: Annotated[str, Field(pattern=r"^application/vnd\.medsilo\.[a-z-]+\+json$")]
    payload: Base64
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=4)]

    def payload_bytes(self) -> bytes:
        """Return the signed bytes; raises :class:`BadEnvelope` where they are not base64."""
        try:
            return base64.b64decode(self.payload, validate=True)
        except binascii.Error as error:
            raise BadEnvelope("payload is not base64") from error


def payload_type(kind: type[Message]) -> str:
    """Return a message class's media type, ``application/vnd.medsilo.estimate-block+json`` for ``EstimateBlock``."""
    name = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).lstrip("-")
    return f"application/vnd.medsilo.{name}+json"


def public_key_text(key: Ed25519PublicKey) -> str:
    """Return the raw 32 bytes of a public key in base64, as messages carry it."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def public_key_from_text(text: str) -> Ed25519PublicKey:
    """Read a public key from a message; raises ``ValueError`` where it is none."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


def key_id(public_key: str) -> str:
    """Return the identifier of a public key: the BLAKE3 digest of its raw bytes, in hexadecimal."""
    return hex_part(digest_bytes(base64.b64decode(public_key, validate=True)))


def key_fingerprint(public_key: str) -> str:
    """Return a key's fingerprint for two people to compare: eight groups of four hexadecimal digits."""
    digits = key_id(public_key)[:32]
    return " ".join(digits[start : start + 4] for start in range(0, 32, 4))


def seal(message: Message, key: Ed25519PrivateKey) -> Envelope:
    """Sign a message's canonical bytes and return the envelope."""
    payload = canonical_bytes(message)
    kind = payload_type(type(message))
    return Envelope(
        payloadType=kind, payload=base64.b64encode(payload).decode(), signatures=(_signature(kind, payload, key),)
    )


def signed_again(envelope: Envelope, *keys: Ed25519PrivateKey) -> Envelope:
    """Return the same payload with the signatures of these keys and no other."""
    payload = envelope.payload_bytes()
    signatures = tuple(_signature(envelope.payloadType, payload, key) for key in keys)
    return envelope.model_copy(update={"signatures": signatures})


def open_envelope(envelope: Envelope, kind: type[M], public_key: str) -> M:
    """Return the message inside, verified against one public key.

    Raises :class:`BadEnvelope` where the type differs, no signature of that key is there or valid, or the payload
    is not a canonical message of that class.
    """
    if envelope.payloadType != payload_type(kind):
        raise BadEnvelope("another payload type")
    payload = envelope.payload_bytes()
    if not any(entry.keyid == key_id(public_key) for entry in envelope.signatures):
        raise BadEnvelope("not signed by that key")
    if not is_signed_by(envelope, public_key):
        raise BadEnvelope("the signature does not verify")
    try:
        parse_object(payload)
        message = kind.model_validate_json(payload)
    except (ValidationError, ValueError) as error:
        raise BadEnvelope("the payload is not a declared message") from error
    if canonical_bytes(message) != payload:
        raise BadEnvelope("the payload is not canonical")
    return message


def is_signed_by(envelope: Envelope, public_key: str) -> bool:
    """Tell whether a key's first signature on an envelope is there and valid, whatever the payload says."""
    wanted = key_id(public_key)
    signature = next((entry for entry in envelope.signatures if entry.keyid == wanted), None)
    if signature is None:
        return False
    encoded = pre_authentication_encoding(envelope.payloadType, envelope.payload_bytes())
    try:
        public_key_from_text(public_key).verify(base64.b64decode(signature.sig), encoded)
    except InvalidSignature:
        return False
    return True


def _signature(kind: str, payload: bytes, key: Ed25519PrivateKey) -> Signature:
    signature = key.sign(pre_authentication_encoding(kind, payload))
    return Signature(keyid=key_id(public_key_text(key.public_key())), sig=base64.b64encode(signature).decode())


def new_key() -> Ed25519PrivateKey:
    """Make an Ed25519 key from the operating system's randomness."""
    return Ed25519PrivateKey.generate()


def key_to_pem(key: Ed25519PrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM, for a file only its owner may read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_pem(pem: bytes) -> Ed25519PrivateKey:
    """Read a private key from PEM; raises ``ValueError`` where it is not an Ed25519 key."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return key


def pre_authentication_encoding(kind: str, payload: bytes) -> bytes:
    """Return what DSSE signs: the type and the payload, each with its length."""
    encoded = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(encoded), encoded, len(payload), payload)
