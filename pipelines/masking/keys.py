"""A site's keys for one round, and what two sites' keys agree on: X25519 and ML-KEM-768 together.

Whoever breaks only one of the two learns nothing. Two pairs of keys a site: *mask* keys come from one secret, the
root, which is shared out so that the masks of a site that vanished can be made again; *channel* keys seal what one site
sends another through the hub and are never shared. What a site encapsulated for others under their mask keys cannot be
made from its own keys again, so it leaves that in an escrow which only its root opens.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipelines.errors import PipelineError

_NONCE = bytes(12)
"""Every key seals one message only."""


@dataclass(frozen=True)
class PublicPair:
    """A public X25519 key (32 bytes) and a public ML-KEM-768 key (1184 bytes)."""

    agreement: bytes
    encapsulation: bytes

    def encapsulate(self) -> tuple[bytes, bytes]:
        """Return a fresh shared secret and the ciphertext that carries it."""
        try:
            secret, ciphertext = MLKEM768PublicKey.from_public_bytes(self.encapsulation).encapsulate()
        except ValueError:
            raise PipelineError("masking-key", "not an ML-KEM-768 key") from None
        return secret, ciphertext


@dataclass(frozen=True)
class PrivatePair:
    """Both private keys, made from one secret of 32 bytes."""

    root: bytes
    purpose: bytes

    @property
    def public(self) -> PublicPair:
        return PublicPair(
            self._agreement.public_key().public_bytes_raw(), self._encapsulation.public_key().public_bytes_raw()
        )

    def agree(self, peer: bytes) -> bytes:
        """Return the X25519 secret with a peer's public key; raises ``masking-key`` for a key that gives none."""
        try:
            return self._agreement.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError:
            raise PipelineError("masking-key", "not an X25519 key") from None

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the secret a ciphertext carries; raises ``masking-key`` where it is none."""
        try:
            return self._encapsulation.decapsulate(ciphertext)
        except ValueError:
            raise PipelineError("masking-key", "not an ML-KEM-768 ciphertext") from None

    @cached_property
    def _agreement(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(derive(self.root, self.purpose + b" x25519"))

    @cached_property
    def _encapsulation(self) -> MLKEM768PrivateKey:
        return MLKEM768PrivateKey.from_seed_bytes(derive(self.root, self.purpose + b" ml-kem-768", 64))


def mask_keys(root: bytes) -> PrivatePair:
    """Return the keys of the masks a site shares with others."""
    return PrivatePair(root, b"mask")


def channel_keys(root: bytes) -> PrivatePair:
    """Return the keys under which others write to a site."""
    return PrivatePair(root, b"channel")


def derive(secret: bytes, info: bytes, length: int = 32) -> bytes:
    """Return key material by HKDF-SHA256."""
    return HKDF(SHA256(), length, salt=None, info=b"medsilo masking 1 " + info).derive(secret)


def pair_seed(agreed: bytes, encapsulated: bytes, context: bytes, lower: str, higher: str) -> bytes:
    """Return the seed of the mask two sites share; ``context`` names round and roster."""
    return derive(agreed + encapsulated, b"pair %s %s %s" % (context, lower.encode(), higher.encode()))


def seal(agreed: bytes, encapsulated: bytes, context: bytes, sender: str, receiver: str, data: bytes) -> bytes:
    """Encrypt what one site sends another; only the receiver's channel keys open it."""
    key, about = _channel(agreed, encapsulated, context, sender, receiver)
    return AESGCM(key).encrypt(_NONCE, data, about)


def unseal(agreed: bytes, encapsulated: bytes, context: bytes, sender: str, receiver: str, sealed: bytes) -> bytes:
    """Decrypt what a site was sent; raises ``masking-key`` where it is not from that sender in this round."""
    key, about = _channel(agreed, encapsulated, context, sender, receiver)
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, about)
    except InvalidTag:
        raise PipelineError("masking-key", "a sealed share does not open") from None


def close_escrow(root: bytes, context: bytes, secrets: Mapping[str, bytes]) -> bytes:
    """Encrypt the secrets a site encapsulated for its peers, by their ids, so that only its root opens them."""
    text = json.dumps({peer: b64encode(secret).decode() for peer, secret in sorted(secrets.items())})
    return AESGCM(derive(root, b"escrow " + context)).encrypt(_NONCE, text.encode(), context)


def open_escrow(root: bytes, context: bytes, escrow: bytes) -> dict[str, bytes]:
    """Decrypt an escrow; raises ``masking-key`` where that root does not open it."""
    try:
        found = json.loads(AESGCM(derive(root, b"escrow " + context)).decrypt(_NONCE, escrow, context))
        return {str(peer): b64decode(secret) for peer, secret in found.items()}
    except (InvalidTag, ValueError, AttributeError):
        raise PipelineError("masking-key", "an escrow does not open") from None


def fresh_secret() -> bytes:
    """Return 32 bytes of the operating system's randomness."""
    return os.urandom(32)


def _channel(agreed: bytes, encapsulated: bytes, context: bytes, sender: str, receiver: str) -> tuple[bytes, bytes]:
    about = b"share %s %s %s" % (context, sender.encode(), receiver.encode())
    return derive(agreed + encapsulated, about), about
