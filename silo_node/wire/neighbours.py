"""A study without an aggregator: sites show each other their models through the hub, which can read none of them.

A plan draws the graph and names every silo's signing key. Each silo says yes with a public *sealing* key; a model is
encrypted for exactly the neighbours in the graph and signed, so the hub can neither read, change nor make one up.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, model_validator

from silo_node.wire.base import Digest, Identifier, Message
from silo_node.wire.envelope import Envelope
from silo_node.wire.masking import Bytes32, Ciphertext, EncapsulationKey, Member
from silo_node.wire.transfers import BlobReference

Share = Annotated[float, Field(gt=0, lt=1)]


class Gossip(Message):
    """The plain mean of the own model and the neighbours'. One lying neighbour can move it anywhere."""

    name: Literal["gossip"] = "gossip"


class Balance(Message):
    """BALANCE (Fang et al., CCS 2024): listen to whoever is near enough for one's own length and the time."""

    name: Literal["balance"] = "balance"
    gamma: Annotated[float, Field(gt=0, le=100)] | None = None
    """How far, as a share of the own model's length; without it from the distances of the first round."""

    kappa: Annotated[float, Field(ge=0, le=100)] = 1.0
    """How fast the radius shrinks over the rounds."""

    alpha: Share = 0.5
    """How much of the own model is kept."""


class Ubar(Message):
    """UBAR (Guo et al. 2021): of the nearest, those whose model does no worse on the site's own validation cases."""

    name: Literal["ubar"] = "ubar"
    honest: Share = 0.6
    """The share of neighbours taken to be honest."""

    alpha: Share = 0.5


class SelfCentredClipping(Message):
    """SCCLIP (He et al. 2022): move towards everybody, but nowhere further than the nearest are."""

    name: Literal["self_centred_clipping"] = "self_centred_clipping"
    liars: Annotated[int, Field(ge=1, le=499)] = 1
    """How many neighbours of a site may send anything at all."""


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


NeighbourRule = Annotated[Gossip | Balance | Ubar | SelfCentredClipping, Discriminator("name"), BeforeValidator(_named)]


class Decentralised(Message):
    """Who shows whom a model, and how a site mixes what it sees."""

    edges: Annotated[tuple[tuple[Identifier, Identifier], ...], Field(min_length=1, max_length=100_000)]
    """Pairs of silos that are neighbours; each pair once, its ids in order."""

    members: Annotated[tuple[Member, ...], Field(max_length=1000)]
    """Every silo of the plan with its signing key."""

    rule: NeighbourRule = Balance()

    @model_validator(mode="after")
    def _a_graph(self) -> "Decentralised":
        silos = {member.silo_id for member in self.members}
        if any(first >= second for first, second in self.edges) or len(set(self.edges)) != len(self.edges):
            raise ValueError("an edge is not two different silos in order, or stands twice")
        if {silo for edge in self.edges for silo in edge} != silos:
            raise ValueError("the graph has other silos than the members")
        return self

    def neighbours(self, silo_id: str) -> tuple[str, ...]:
        """Return a silo's neighbours in order."""
        return tuple(sorted(b if a == silo_id else a for a, b in self.edges if silo_id in (a, b)))

    def key_of(self, silo_id: str) -> str | None:
        """Return the signing key the plan names for a silo."""
        return next((member.public_key for member in self.members if member.silo_id == silo_id), None)


class SealingKey(Message):
    """The public keys under which others encrypt models for a silo in one study: X25519 and ML-KEM-768."""

    study_id: Identifier
    silo_id: Identifier
    plan_digest: Digest
    agreement: Bytes32
    encapsulation: EncapsulationKey


class WrappedKey(Message):
    """A model's content key, for one neighbour."""

    silo_id: Identifier
    ciphertext: Ciphertext
    wrapped: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{64}$", description="48 bytes, base64.")]


class SealedModel(Message):
    """What a silo shows its neighbours after a round's training: an encrypted model, and the key for each of them."""

    study_id: Identifier
    silo_id: Identifier
    round: Annotated[int, Field(ge=1, le=10_000)]
    plan_digest: Digest
    sealed: BlobReference
    keys: Annotated[tuple[WrappedKey, ...], Field(max_length=1000)]


class Neighbour(Message):
    """A neighbour as the hub passes it on: its signed sealing key and, after a round, its signed sealed model."""

    silo_id: Identifier
    key: Envelope
    model: Envelope | None = None
    sealed: BlobReference | None = None
    """The blob ``model`` names, so that the silo may fetch it."""


class Exchange(Message):
    """A silo's part of a decentralised round: the sealed model it shows, and to whom it listened."""

    model: Envelope | None
    heard: Annotated[tuple[Identifier, ...], Field(max_length=1000)]
    """The neighbours whose models went into its own, of those it was shown."""

    shown: Annotated[int, Field(ge=0, le=1000)]
    """How many neighbours' models it could open."""
