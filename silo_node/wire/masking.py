"""Secure aggregation on the wire: what a plan fixes, and what a silo states in a round (Bonawitz et al. 2017).

``MaskingKeys`` -> ``MaskingShares`` -> the masked update -> ``MaskingSurvivors`` -> ``MaskingOpening``. Each is signed
with the silo's own key, which the plan names; the hub relays them and opens none.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from silo_node.wire.base import Digest, Identifier, Message
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import Base64, Envelope, PublicKey

LEAST_SITES = 3
"""With two, each learns the other's update from the sum."""

Stage = Literal["advertising", "sharing", "masking", "confirming", "opening", "opened", "void"]
Bytes32 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$", description="32 bytes, base64.")]
EncapsulationKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{1579}=$", description="An ML-KEM-768 key, base64.")]
Ciphertext = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{1451}=$", description="An ML-KEM-768 ciphertext, base64.")]
Share = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{44}$", description="A share of 33 bytes, base64.")]
SealedShares = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{110}==$", description="Two sealed shares, base64.")]


class Member(Message):
    """A silo and the key it signs with, fixed in the plan: no hub can slip in silos of its own later."""

    silo_id: Identifier
    public_key: PublicKey


class SecureAggregation(Message):
    """The hub learns sums over at least three silos, and no single update."""

    members: Annotated[tuple[Member, ...], Field(max_length=1000)] = ()
    """Every silo of the plan with its signing key."""

    groups: Annotated[int, Field(ge=1, le=100)] = 1
    """The silos are dealt into so many groups, the same all study long; the hub learns one sum a group."""

    threshold: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Silos of a group that must agree before a sum is opened; by default two thirds of it, rounded up."""

    largest_change: Annotated[float, Field(gt=0, le=1e6)] = 16.0
    """The largest change of a single weight; a silo whose update goes beyond it sends none."""

    word_bits: Literal[16, 32] = 32
    """With 16 a masked update has half the bytes, and a step of a value is 65,536 times as large: for a small
    ``largest_change``, and for at most about four thousand cases in a sum."""

    step_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """How long each step after the training is waited for."""


class MaskingKeys(Message):
    """Step 1: a silo's public keys for one attempt at one round, and the weight its update will carry."""

    task_id: Identifier
    study_id: Identifier
    silo_id: Identifier
    round: Annotated[int, Field(ge=1, le=10_001)]
    plan_digest: Digest
    base: Digest
    weight: Annotated[int, Field(ge=1, le=10**9)]
    """The registered cohort's training cases; the hub checks it."""

    mask_agreement: Bytes32
    mask_encapsulation: EncapsulationKey
    channel_agreement: Bytes32
    channel_encapsulation: EncapsulationKey


class Parcel(Message):
    """What one silo sends another through the hub: shares of its two secrets, sealed."""

    sender: Identifier
    receiver: Identifier
    channel: Ciphertext
    mask: Ciphertext | None
    """Part of the seed of the mask the two share; from the silo whose id sorts first."""

    sealed: SealedShares


class MaskingShares(Message):
    """Step 2: a silo's secrets in shares, one parcel for every other silo of the roster; its own share stays with it.

    ``escrow`` holds what the silo encapsulated for the parcels' ``mask``; only its root opens it.
    """

    silo_id: Identifier
    roster: Digest
    escrow: Annotated[Base64, Field(max_length=100_000)]
    parcels: Annotated[tuple[Parcel, ...], Field(max_length=1000)]


class MaskingSurvivors(Message):
    """Step 4: whose masked updates are in the sum, as this silo was told; signed, so that all see the same."""

    silo_id: Identifier
    roster: Digest
    survivors: Annotated[tuple[Identifier, ...], Field(min_length=LEAST_SITES, max_length=1000)]


class OpenedShare(Message):
    """A silo's share of one secret of another."""

    of: Identifier
    share: Share


class MaskingOpening(Message):
    """Step 5: for each survivor the share of its own mask, for each that vanished the share of its root. Never both."""

    silo_id: Identifier
    roster: Digest
    seeds: Annotated[tuple[OpenedShare, ...], Field(max_length=1000)]
    roots: Annotated[tuple[OpenedShare, ...], Field(max_length=1000)]


class MaskingView(Message):
    """What the hub shows one silo of its group: as much as its stage allows."""

    stage: Stage
    received: bool
    """Whether the silo's statement of this stage is here."""

    roster: Annotated[tuple[Envelope, ...], Field(max_length=1000)] = ()
    parcels: Annotated[tuple[Parcel, ...], Field(max_length=1000)] = ()
    survivors: Annotated[tuple[Identifier, ...], Field(max_length=1000)] = ()
    confirmations: Annotated[tuple[Envelope, ...], Field(max_length=1000)] = ()


def roster_digest(keys: Sequence[Envelope]) -> str:
    """Return the digest of a roster: of the signed bytes of its keys, in the order of the silos' ids."""
    return digest_bytes(b"".join(digest_bytes(envelope.payload_bytes()).encode() for envelope in keys))


def groups_of(silos: Sequence[str], groups: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Deal silos into groups whose sizes differ by at most one; the same for the same plan.

    Groups that changed from round to round would let the hub solve for single updates.
    """
    dealt = sorted(silos, key=lambda silo_id: digest_bytes(f"{seed} {silo_id}".encode()))
    return tuple(tuple(sorted(dealt[place::groups])) for place in range(groups))


def group_of(silos: Sequence[str], masking: SecureAggregation, seed: int, silo_id: str) -> tuple[str, ...]:
    """Return the group a silo is dealt into."""
    return next(group for group in groups_of(silos, masking.groups, seed) if silo_id in group)


def threshold_of(masking: SecureAggregation, size: int) -> int:
    """Return how many silos of a group of this size must agree before its sum is opened."""
    return masking.threshold or -(-2 * size // 3)


def least_survivors(masking: SecureAggregation, size: int) -> int:
    """Return the fewest silos over which a group's sum is ever opened."""
    return max(LEAST_SITES, threshold_of(masking, size))
