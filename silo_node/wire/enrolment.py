"""Joining a hub: a one-time code, the silo's public key, and a comparison of fingerprints by two people."""

from typing import Annotated, Literal

from pydantic import Field

from silo_node.wire.base import Identifier, Message, Timestamp, Title
from silo_node.wire.envelope import PublicKey

SiloState = Literal["invited", "pending", "active", "suspended", "revoked"]


class HubInformation(Message):
    """What anyone may know of a hub before joining it."""

    name: Title
    version: str
    wire_versions: tuple[int, ...]
    public_key: PublicKey
    development: bool
    recommended_node: Annotated[str, Field(pattern=r"^[0-9a-z.+-]{1,40}$")] | None = None
    """The node's release the hub's operator recommends; an older one still works while a wire version is common."""


class EnrolmentRequest(Message):
    """A node's first message: the code it was given and the public half of the key it made."""

    code: Annotated[str, Field(pattern=r"^[A-Z0-9]{4}(-[A-Z0-9]{4}){3}$")]
    public_key: PublicKey
    software_version: Annotated[str, Field(pattern=r"^[0-9a-z.+-]{1,40}$")]
    wire_versions: Annotated[tuple[int, ...], Field(min_length=1, max_length=8)]


class EnrolmentReceipt(Message):
    """The hub's answer: who the silo is, and a token that works once an admin has compared the fingerprint."""

    silo_id: Identifier
    silo_name: Title
    token: Annotated[str, Field(pattern=r"^mss_[0-9A-Za-z]{40,60}$")]
    hub_public_key: PublicKey
    wire_version: int


class SiloStatus(Message):
    """How the hub sees the silo that asks."""

    silo_id: Identifier
    silo_name: Title
    state: SiloState
    hub_public_key: PublicKey
    token_expires: Timestamp | None = None


class KeyRotation(Message):
    """A silo's signed wish to sign with another key from now on, and to have a fresh token.

    The envelope carries two signatures: of the key so far, which shows who asks, and of the new one, which shows that
    the silo has it. With the key so far as the new one, only the token is exchanged.
    """

    silo_id: Identifier
    public_key: PublicKey


class KeyRotationReceipt(Message):
    """The hub's answer. Until ``previous_until`` it also takes what the earlier key and token say."""

    silo_id: Identifier
    public_key: PublicKey
    token: Annotated[str, Field(pattern=r"^mss_[0-9A-Za-z]{40,60}$")]
    token_expires: Timestamp | None
    previous_until: Timestamp


class SiloKey(Message):
    """One of a silo's keys, and when what it signed counts; ``until`` is absent for the present one."""

    public_key: PublicKey
    since: Timestamp
    until: Timestamp | None


class SiloKeys(Message):
    """Every key a silo has ever had, oldest first, so that old receipts stay verifiable."""

    silo_id: Identifier
    keys: tuple[SiloKey, ...]
