"""A masked round in memory: real silos' states and a hub that only relays, for the tests of this folder."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save_file

from federation_hub.aggregation.group_means import meaning_of
from federation_hub.masking.opening import Said, masks_left
from pipelines.masking.sums import encoded, stored, write_masked, write_mean
from silo_node.masking import protocol
from silo_node.masking.protocol import Session
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.canonical import message_digest
from silo_node.wire.envelope import Envelope, new_key, public_key_text
from silo_node.wire.masking import (
    MaskingKeys,
    MaskingOpening,
    MaskingShares,
    Member,
    Parcel,
    SecureAggregation,
    roster_digest,
)
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import RoundTask, StudyPlan
from silo_node.wire.transfers import BlobReference

DIGEST = "blake3:" + "a" * 64
FINGERPRINT = "keyed-blake3:" + "b" * 64
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Silo:
    """A silo of the round: its key, its weight and its session as it stands."""

    silo_id: str
    key: Ed25519PrivateKey
    session: Session


def silo_ids(count: int) -> tuple[str, ...]:
    return tuple(f"silo-{number:06}" for number in range(count))


def plan_for(keys: dict[str, Ed25519PrivateKey], **masking: object) -> StudyPlan:
    members = tuple(
        Member(silo_id=silo_id, public_key=public_key_text(key.public_key())) for silo_id, key in keys.items()
    )
    return StudyPlan(
        name="made_up",
        title="A made-up study",
        benchmark=BenchmarkReference(name="toy", version=1, digest=DIGEST),
        model=ModelReference(digest=DIGEST, size=1000),
        silos=tuple(keys),
        rounds=1,
        quorum=3,
        deadline_seconds=60,
        secure_aggregation=SecureAggregation.model_validate({"members": members, **masking}),
    )


def task_for(plan: StudyPlan, number: int = 1) -> RoundTask:
    return RoundTask(
        study_id="study-000001",
        plan=plan,
        plan_digest=message_digest(plan),
        round=number,
        validate_only=False,
        cohort=FINGERPRINT,
        weights=BlobReference(digest=DIGEST, size=1000),
    )


def advertised(weights: Sequence[int], **masking: object) -> list[Silo]:
    """Return silos that have stated their keys."""
    keys = {silo_id: new_key() for silo_id in silo_ids(len(weights))}
    task = task_for(plan_for(keys, **masking))
    return [
        Silo(silo_id, key, protocol.begin(f"task-{silo_id[5:]}", silo_id, task, weight, key))
        for (silo_id, key), weight in zip(keys.items(), weights, strict=True)
    ]


def roster_of(silos: Sequence[Silo]) -> tuple[Envelope, ...]:
    return tuple(silo.session.keys for silo in silos)


def shared(silos: Sequence[Silo]) -> list[Silo]:
    """Return the silos after they have shared their secrets out over all of them."""
    roster = roster_of(silos)
    return [Silo(one.silo_id, one.key, protocol.share(one.session, roster, one.key)) for one in silos]


def shares_of(silo: Silo) -> MaskingShares:
    assert silo.session.shares is not None
    return MaskingShares.model_validate_json(silo.session.shares.payload_bytes())


def parcels_to(silo_id: str, silos: Sequence[Silo]) -> tuple[Parcel, ...]:
    return tuple(parcel for one in silos for parcel in shares_of(one).parcels if parcel.receiver == silo_id)


def seeded(silos: Sequence[Silo]) -> list[Silo]:
    """Return the silos after each has received what all of them sent."""
    return [Silo(one.silo_id, one.key, protocol.receive(one.session, parcels_to(one.silo_id, silos))) for one in silos]


def confirmed(silos: Sequence[Silo], survivors: Sequence[str]) -> list[Silo]:
    return [Silo(one.silo_id, one.key, protocol.confirm(one.session, survivors, one.key)) for one in silos]


def opened(silos: Sequence[Silo]) -> list[Silo]:
    said = [one.session.confirmation for one in silos]
    signed = [envelope for envelope in said if envelope is not None]
    return [Silo(one.silo_id, one.key, protocol.open_shares(one.session, signed, one.key)) for one in silos]


def said_by(roster: Sequence[Silo], sharing: Sequence[Silo], survivors: Sequence[str], opening: Sequence[Silo]) -> Said:
    """Return what a hub knows in the end."""
    openings = {}
    for one in opening:
        assert one.session.opening is not None
        openings[one.silo_id] = MaskingOpening.model_validate_json(one.session.opening.payload_bytes())
    return Said(
        roster=roster_digest(roster_of(roster)),
        keys={one.silo_id: MaskingKeys.model_validate_json(one.session.keys.payload_bytes()) for one in roster},
        shares={one.silo_id: shares_of(one) for one in sharing},
        survivors=sorted(survivors),
        openings=openings,
    )


def masked_mean(
    folder: Path,
    updates: dict[str, Arrays],
    weights: Sequence[int],
    *,
    never_share: Collection[int] = (),
    never_send: Collection[int] = (),
    never_open: Collection[int] = (),
    **masking: object,
) -> Path:
    """Do a round in which these silos vanish before the step named, and return the mean the hub opens."""
    silos = advertised(weights, **masking)
    paths = {silo_id: folder / f"{silo_id}.safetensors" for silo_id in updates}
    for silo_id, arrays in updates.items():
        save_file(arrays, paths[silo_id])
    sharing = [one for place, one in enumerate(shared(silos)) if place not in never_share]
    masking_silos = seeded(sharing)
    vanished = {silos[place].silo_id for place in never_send}
    senders = [one for one in masking_silos if one.silo_id not in vanished]
    values = sum(array.size for array in next(iter(updates.values())).values())
    sources = []
    for one in senders:
        how, out = protocol.masking_of(one.session), folder / f"{one.silo_id}.masked"
        write_masked(encoded(paths[one.silo_id], how.encoding, how.weight), how.masks, out)
        sources.append(stored(out, values, how.encoding.bits))
    survivors = [one.silo_id for one in senders]
    silent = {silos[place].silo_id for place in never_open}
    opening = [one for one in opened(confirmed(senders, survivors)) if one.silo_id not in silent]
    said = said_by(silos, sharing, survivors, opening)
    meaning = meaning_of(silos[0].session.task.plan, weights, [said.keys[one].weight for one in survivors])
    mean = folder / "mean.safetensors"
    write_mean(sources, masks_left(said), meaning, paths[survivors[0]], mean)
    return mean
