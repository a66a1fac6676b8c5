"""A silo's steps in secure aggregation, as pure functions from one state to the next (Bonawitz et al. 2017).

The hub is not trusted with a single update: every other silo's statement is checked against the keys the plan names,
every step is taken once, and a state is kept on disk before what it says is sent.

========== ============================================================================================
state      what is settled
========== ============================================================================================
advertised the keys of this attempt; they are used for no other
shared     the roster, and how the two secrets were shared out over it
seeded     who has shared, hence every mask; from here on the masked update is always the same bytes
masked     the update, masked, waits to leave or has left
opened     whose updates are in the sum, and which share of each was given: never both of one silo
closed     nothing more is said; the secrets are gone
========== ============================================================================================
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from pipelines.errors import PipelineError
from pipelines.masking import keys, shamir
from pipelines.masking.fixed_point import FixedPoint
from pipelines.masking.sums import Masks
from silo_node.config import Settings
from silo_node.wire.envelope import BadEnvelope, Envelope, open_envelope, seal
from silo_node.wire.errors import IntegrityError, PolicyRefusal
from silo_node.wire.masking import (
    MaskingKeys,
    MaskingOpening,
    MaskingShares,
    MaskingSurvivors,
    OpenedShare,
    Parcel,
    group_of,
    least_survivors,
    roster_digest,
    threshold_of,
)
from silo_node.wire.studies import RoundTask

State = Literal["advertised", "shared", "seeded", "masked", "opened", "closed"]


class Received(Settings):
    """What another silo sent this one: shares of its secrets, and the seed of the mask the two have in common."""

    root: str
    seed: str
    pair: str


class Session(Settings):
    """One attempt at one round at this silo. Text fields hold bytes in base64."""

    task_id: str
    silo_id: str
    task: RoundTask
    weight: int
    state: State
    root: str = ""
    own_seed: str = ""
    channel_root: str = ""
    roster: tuple[Envelope, ...] = ()
    roster_digest: str = ""
    """Whatever is derived or sealed is bound to it, and so to study, round, plan and base."""

    own_shares: tuple[str, str] = ("", "")
    """Of the root and of the seed, at this silo's own place."""

    encapsulated: dict[str, str] = {}
    received: dict[str, Received] = {}
    survivors: tuple[str, ...] = ()
    keys: Envelope
    shares: Envelope | None = None
    confirmation: Envelope | None = None
    opening: Envelope | None = None
    report: str = ""
    """The round's report as JSON, whose update is filled in once it is masked."""

    code: str | None = None

    @property
    def context(self) -> bytes:
        """What is derived and sealed is bound to this."""
        return self.roster_digest.encode()

    @property
    def peers(self) -> tuple[MaskingKeys, ...]:
        """The keys of the whole roster, this silo's among them, in the order of ids."""
        return tuple(MaskingKeys.model_validate_json(envelope.payload_bytes()) for envelope in self.roster)

    @property
    def threshold(self) -> int:
        masking = self.task.plan.secure_aggregation
        assert masking is not None
        return threshold_of(masking, len(self._group))

    @property
    def least(self) -> int:
        """The fewest survivors whose sum this silo helps to open."""
        masking = self.task.plan.secure_aggregation
        assert masking is not None
        return least_survivors(masking, len(self._group))

    @property
    def members(self) -> dict[str, str]:
        """The signing keys of this silo's group, by id, as the plan names them."""
        masking = self.task.plan.secure_aggregation
        assert masking is not None
        return {one.silo_id: one.public_key for one in masking.members if one.silo_id in self._group}

    @cached_property
    def _group(self) -> tuple[str, ...]:
        masking = self.task.plan.secure_aggregation
        assert masking is not None
        return group_of(self.task.plan.silos, masking, self.task.plan.seed, self.silo_id)


@dataclass(frozen=True)
class Masking:
    """How this silo's update is encoded, weighted and masked."""

    encoding: FixedPoint
    weight: int
    masks: Masks


def begin(task_id: str, silo_id: str, task: RoundTask, weight: int, key: Ed25519PrivateKey) -> Session:
    """Step 1: make this attempt's secrets and state their public keys."""
    root, channel_root = keys.fresh_secret(), keys.fresh_secret()
    mask, channel = keys.mask_keys(root).public, keys.channel_keys(channel_root).public
    statement = MaskingKeys(
        task_id=task_id,
        study_id=task.study_id,
        silo_id=silo_id,
        round=task.round,
        plan_digest=task.plan_digest,
        base=task.weights.digest,
        weight=weight,
        mask_agreement=_text(mask.agreement),
        mask_encapsulation=_text(mask.encapsulation),
        channel_agreement=_text(channel.agreement),
        channel_encapsulation=_text(channel.encapsulation),
    )
    return Session(
        task_id=task_id,
        silo_id=silo_id,
        task=task,
        weight=weight,
        state="advertised",
        root=_text(root),
        own_seed=_text(keys.fresh_secret()),
        channel_root=_text(channel_root),
        keys=seal(statement, key),
    )


def share(session: Session, roster: Sequence[Envelope], key: Ed25519PrivateKey) -> Session:
    """Step 2: check the roster, share both secrets out over it and seal each share for its receiver.

    Raises :class:`IntegrityError` ``masking-roster`` for a roster that is not the plan's, that is too small, or that
    holds another statement of this silo than its own.
    """
    session = session.model_copy(update={"roster": tuple(roster), "roster_digest": roster_digest(roster)})
    peers = _checked_roster(session)
    root, own_seed = _bytes(session.root), _bytes(session.own_seed)
    channel = keys.channel_keys(_bytes(session.channel_root))
    roots = shamir.split(root, session.threshold, len(peers))
    seeds = shamir.split(own_seed, session.threshold, len(peers))
    parcels: list[Parcel] = []
    encapsulated: dict[str, bytes] = {}
    own_shares = ("", "")
    for place, peer in enumerate(peers):
        if peer.silo_id == session.silo_id:
            own_shares = (_text(roots[place]), _text(seeds[place]))
            continue
        parcel, secret = _parcel(session, channel, peer, roots[place] + seeds[place])
        parcels.append(parcel)
        if secret is not None:
            encapsulated[peer.silo_id] = secret
    statement = MaskingShares(
        silo_id=session.silo_id,
        roster=session.roster_digest,
        escrow=_text(keys.close_escrow(root, session.context, encapsulated)),
        parcels=tuple(parcels),
    )
    return session.model_copy(
        update={
            "state": "shared",
            "own_shares": own_shares,
            "encapsulated": {peer: _text(secret) for peer, secret in encapsulated.items()},
            "shares": seal(statement, key),
        }
    )


def receive(session: Session, parcels: Sequence[Parcel]) -> Session:
    """Step 3: open what the others sent; with it every mask is settled.

    Raises :class:`IntegrityError` ``masking-roster`` where too few have shared, :class:`PipelineError`
    ``masking-key`` for a parcel that is not from its sender.
    """
    peers = {peer.silo_id: peer for peer in session.peers if peer.silo_id != session.silo_id}
    senders = [parcel.sender for parcel in parcels]
    if len(set(senders)) != len(senders) or set(senders) - set(peers) or len(senders) + 1 < session.least:
        raise IntegrityError("masking-roster", "not enough silos of the roster have shared")
    own = (keys.channel_keys(_bytes(session.channel_root)), keys.mask_keys(_bytes(session.root)))
    received = {parcel.sender: _opened_parcel(session, *own, peers[parcel.sender], parcel) for parcel in parcels}
    return session.model_copy(update={"state": "seeded", "received": received})


def masking_of(session: Session) -> Masking:
    """Return how the update is masked: one mask of its own, and one with every silo that has shared."""
    plan = session.task.plan.secure_aggregation
    assert plan is not None
    weights = [peer.weight for peer in session.peers]
    own = keys.derive(_bytes(session.own_seed), b"own " + session.context)
    higher = tuple(_bytes(one.pair) for peer, one in sorted(session.received.items()) if peer > session.silo_id)
    lower = tuple(_bytes(one.pair) for peer, one in sorted(session.received.items()) if peer < session.silo_id)
    encoding = FixedPoint.for_sum(plan.largest_change, sum(weights), len(weights), plan.word_bits)
    return Masking(encoding, session.weight, Masks(added=(own, *higher), taken=lower))


def confirm(session: Session, survivors: Sequence[str], key: Ed25519PrivateKey) -> Session:
    """Step 4: sign whose updates are said to be in the sum.

    Raises :class:`IntegrityError` ``masking-roster`` where they are too few, unknown or without this silo.
    """
    session = session.model_copy(update={"survivors": _checked_survivors(session, survivors)})
    statement = MaskingSurvivors(silo_id=session.silo_id, roster=session.roster_digest, survivors=session.survivors)
    return session.model_copy(update={"confirmation": seal(statement, key)})


def open_shares(session: Session, confirmations: Sequence[Envelope], key: Ed25519PrivateKey) -> Session:
    """Step 5: once enough survivors have signed the same set, give one share of each silo: of a survivor its own mask's
    seed, of one that vanished its root. A session that has answered keeps its answer, whatever it is shown.

    Raises :class:`IntegrityError` ``masking-roster`` where too few of them have signed exactly this silo's set.
    """
    if session.opening is not None:
        return session
    if not session.survivors or len(_signers(session, confirmations)) < session.threshold:
        raise IntegrityError("masking-roster", "too few survivors have signed the same set")
    shared = {session.silo_id, *session.received}
    survivors = set(session.survivors)
    statement = MaskingOpening(
        silo_id=session.silo_id,
        roster=session.roster_digest,
        seeds=tuple(OpenedShare(of=one, share=_seed_share(session, one)) for one in sorted(survivors)),
        roots=tuple(
            OpenedShare(of=one, share=session.received[one].root)
            for one in sorted(shared - survivors)
            if one != session.silo_id
        ),
    )
    return session.model_copy(update={"state": "opened", "opening": seal(statement, key)})


def close(session: Session, code: str | None = None) -> Session:
    """End a session and forget its secrets."""
    return session.model_copy(
        update={
            "state": "closed",
            "code": code,
            "root": "",
            "own_seed": "",
            "channel_root": "",
            "own_shares": ("", ""),
            "encapsulated": {},
            "received": {},
        }
    )


def refuse_second_sum(session: Session, earlier: Sequence[Session]) -> None:
    """Raise ``masking-answered`` where this silo has opened a sum of the same round over other silos.

    Training is deterministic, so two sums over sets that differ by one silo would tell its update. The same set tells
    nothing new.
    """
    for other in earlier:
        same = (other.task.study_id, other.task.round, other.task.weights.digest) == (
            session.task.study_id,
            session.task.round,
            session.task.weights.digest,
        )
        if same and other.task_id != session.task_id and other.opening and other.survivors != session.survivors:
            raise PolicyRefusal("masking-answered")


def _checked_roster(session: Session) -> tuple[MaskingKeys, ...]:
    members, found = session.members, []
    for envelope in session.roster:
        keys_of = _opened_keys(envelope, members)
        found.append(keys_of)
    ids = [one.silo_id for one in found]
    own = [envelope for envelope, one in zip(session.roster, found, strict=True) if one.silo_id == session.silo_id]
    wanted = (session.task.study_id, session.task.round, session.task.plan_digest, session.task.weights.digest)
    same = all((one.study_id, one.round, one.plan_digest, one.base) == wanted for one in found)
    if ids != sorted(set(ids)) or len(ids) < session.least or own != [session.keys] or not same:
        raise IntegrityError("masking-roster", "not the silos, the round or the statement it must name")
    return tuple(found)


def _opened_keys(envelope: Envelope, members: dict[str, str]) -> MaskingKeys:
    try:
        silo_id = MaskingKeys.model_validate_json(envelope.payload_bytes()).silo_id
        return open_envelope(envelope, MaskingKeys, members[silo_id])
    except (BadEnvelope, ValidationError, KeyError):
        raise IntegrityError("masking-roster", "a statement that no silo of the group has signed") from None


def _parcel(session: Session, channel: keys.PrivatePair, peer: MaskingKeys, data: bytes) -> tuple[Parcel, bytes | None]:
    theirs = keys.PublicPair(_bytes(peer.channel_agreement), _bytes(peer.channel_encapsulation))
    secret, ciphertext = theirs.encapsulate()
    agreed = channel.agree(theirs.agreement)
    mask_secret, mask_ciphertext = None, None
    if session.silo_id < peer.silo_id:
        mask_secret, carried = keys.PublicPair(b"", _bytes(peer.mask_encapsulation)).encapsulate()
        mask_ciphertext = _text(carried)
    parcel = Parcel(
        sender=session.silo_id,
        receiver=peer.silo_id,
        channel=_text(ciphertext),
        mask=mask_ciphertext,
        sealed=_text(keys.seal(agreed, secret, session.context, session.silo_id, peer.silo_id, data)),
    )
    return parcel, mask_secret


def _opened_parcel(
    session: Session, channel: keys.PrivatePair, mask: keys.PrivatePair, peer: MaskingKeys, parcel: Parcel
) -> Received:
    own, context = session.silo_id, session.context
    if parcel.receiver != own or (parcel.mask is None) != (own < peer.silo_id):
        raise IntegrityError("masking-roster", "a parcel for another silo")
    agreed, secret = channel.agree(_bytes(peer.channel_agreement)), channel.decapsulate(_bytes(parcel.channel))
    data = keys.unseal(agreed, secret, context, peer.silo_id, own, _bytes(parcel.sealed))
    if parcel.mask is None:
        common = _bytes(session.encapsulated[peer.silo_id])
    else:
        common = mask.decapsulate(_bytes(parcel.mask))
    lower, higher = sorted((own, peer.silo_id))
    pair = keys.pair_seed(mask.agree(_bytes(peer.mask_agreement)), common, context, lower, higher)
    cut = shamir.SHARE_BYTES
    return Received(root=_text(data[:cut]), seed=_text(data[cut:]), pair=_text(pair))


def _checked_survivors(session: Session, survivors: Sequence[str]) -> tuple[str, ...]:
    shared = {session.silo_id, *session.received}
    found = tuple(sorted(set(survivors)))
    if session.survivors and session.survivors != found:
        raise IntegrityError("masking-roster", "the hub names other survivors than before")
    if set(found) - shared or session.silo_id not in found or len(found) < session.least:
        raise IntegrityError("masking-roster", "survivors that are too few, unknown, or without this silo")
    return found


def _signers(session: Session, confirmations: Sequence[Envelope]) -> set[str]:
    """Return the survivors that have signed exactly the set this silo was told."""
    wanted, signers = session.roster_digest, set[str]()
    members = {silo_id: key for silo_id, key in session.members.items() if silo_id in session.survivors}
    for envelope in confirmations:
        try:
            silo_id = MaskingSurvivors.model_validate_json(envelope.payload_bytes()).silo_id
            found = open_envelope(envelope, MaskingSurvivors, members[silo_id])
        except (BadEnvelope, ValidationError, KeyError):
            continue
        if (found.roster, found.survivors) == (wanted, session.survivors):
            signers.add(silo_id)
    return signers


def _seed_share(session: Session, silo_id: str) -> str:
    return session.own_shares[1] if silo_id == session.silo_id else session.received[silo_id].seed


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise PipelineError("masking-key", "not base64") from None
