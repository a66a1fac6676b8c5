"""Encrypting a model for some neighbours and no one else, in chunks, so that memory does not depend on its size.

One random content key a file, wrapped for each neighbour under what X25519 between the two silos' sealing keys and a
fresh ML-KEM-768 encapsulation agree on: whoever breaks only one of the two learns nothing. The chunks are AES-256-GCM
in the STREAM construction (Hoang et al. 2015): the nonce counts, and the last chunk says that it is the last, so that
a shortened, lengthened or reordered file does not open. That a neighbour who holds the content key cannot pass a model
of its own off as the sender's is the signature's doing, which covers the sealed file's digest.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.errors import PipelineError
from pipelines.masking.keys import PrivatePair, PublicPair, derive
from silo_node.wire.errors import IntegrityError
from silo_node.wire.neighbours import WrappedKey

CHUNK_BYTES = 1 << 20
TAG_BYTES = 16
_NONCE = bytes(12)
"""Every wrapping key seals one content key only."""

_LAST = b"\x01"
_MORE = b"\x00"


def seal_file(
    source: Path, target: Path, own: PrivatePair, sender: str, receivers: Mapping[str, PublicPair], context: bytes
) -> tuple[WrappedKey, ...]:
    """Encrypt ``source`` into ``target`` and return the content key for each receiver.

    ``context`` names study, round and plan; a file opens in that context only. Raises :class:`IntegrityError`
    ``neighbour-unsound`` for a receiver's key that is none.
    """
    content = os.urandom(32)
    with source.open("rb") as plain, target.open("wb") as sealed:
        _encrypt(plain, sealed, AESGCM(content), context)
        sealed.flush()
        os.fsync(sealed.fileno())
    return tuple(_wrap(content, own, sender, silo_id, key, context) for silo_id, key in sorted(receivers.items()))


def open_file(
    source: Path,
    target: Path,
    own: PrivatePair,
    receiver: str,
    sender: str,
    key: PublicPair,
    wrapped: WrappedKey,
    context: bytes,
) -> None:
    """Decrypt what a neighbour has sealed for this silo; raises ``neighbour-unsound`` and leaves no target behind."""
    try:
        secret = own.decapsulate(b64decode(wrapped.ciphertext))
        about = _about(context, sender, receiver)
        content = AESGCM(derive(own.agree(key.agreement) + secret, about)).decrypt(
            _NONCE, b64decode(wrapped.wrapped), about
        )
        with source.open("rb") as sealed, target.open("wb") as plain:
            _decrypt(sealed, plain, AESGCM(content), context)
    except (InvalidTag, PipelineError, ValueError):
        target.unlink(missing_ok=True)
        raise IntegrityError("neighbour-unsound", f"what {sender} has sealed does not open") from None


def sealed_size(size: int) -> int:
    """Return how long a file of this size is when it is sealed."""
    return size + TAG_BYTES * max(1, -(-size // CHUNK_BYTES))


def _wrap(content: bytes, own: PrivatePair, sender: str, receiver: str, key: PublicPair, context: bytes) -> WrappedKey:
    about = _about(context, sender, receiver)
    try:
        secret, ciphertext = key.encapsulate()
        wrapping = derive(own.agree(key.agreement) + secret, about)
    except PipelineError:
        raise IntegrityError("neighbour-unsound", f"the sealing key of {receiver} is none") from None
    wrapped = AESGCM(wrapping).encrypt(_NONCE, content, about)
    return WrappedKey(silo_id=receiver, ciphertext=b64encode(ciphertext).decode(), wrapped=b64encode(wrapped).decode())


def _encrypt(plain: BinaryIO, sealed: BinaryIO, cipher: AESGCM, context: bytes) -> None:
    number, chunk = 0, plain.read(CHUNK_BYTES)
    while True:
        following = plain.read(CHUNK_BYTES)
        mark = _MORE if following else _LAST
        sealed.write(cipher.encrypt(_counter(number, mark), chunk, context))
        if not following:
            return
        number, chunk = number + 1, following


def _decrypt(sealed: BinaryIO, plain: BinaryIO, cipher: AESGCM, context: bytes) -> None:
    number, chunk = 0, sealed.read(CHUNK_BYTES + TAG_BYTES)
    while True:
        following = sealed.read(CHUNK_BYTES + TAG_BYTES)
        mark = _MORE if following else _LAST
        plain.write(cipher.decrypt(_counter(number, mark), chunk, context))
        if not following:
            return
        number, chunk = number + 1, following


def _counter(number: int, mark: bytes) -> bytes:
    return number.to_bytes(11, "big") + mark


def _about(context: bytes, sender: str, receiver: str) -> bytes:
    return b"neighbour %s %s %s" % (context, sender.encode(), receiver.encode())
