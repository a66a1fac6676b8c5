"""A decentralised round at this site: open what the neighbours show, and seal what they shall see.

Nothing here trusts the hub. A neighbour is who the plan says: its sealing key and its model are signed with the key the
plan names, for this study and this plan, and the graph of the plan has it beside this silo.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from silo_node.agent.updates import check_update
from silo_node.identity import Identity
from silo_node.neighbours.own import OwnPart, public_pair
from silo_node.neighbours.sealing import open_file, seal_file
from silo_node.wire.digests import digest_file
from silo_node.wire.envelope import BadEnvelope, Envelope, open_envelope, seal
from silo_node.wire.errors import IntegrityError, WorkFailed
from silo_node.wire.neighbours import Decentralised, Neighbour, SealedModel, SealingKey
from silo_node.wire.studies import RoundTask
from silo_node.wire.transfers import BlobReference

_LOG = logging.getLogger("silo_node.agent")


@dataclass(frozen=True)
class Peer:
    """A neighbour that is who the plan says, with its sealing key and, after a round, its model."""

    silo_id: str
    key: SealingKey
    model: SealedModel | None


def peers_of(body: RoundTask, own_id: str) -> tuple[Peer, ...]:
    """Return the neighbours a task shows, in the order of their ids.

    Raises :class:`IntegrityError` ``neighbour-unsound`` where one is not beside this silo in the plan's graph, stands
    twice, or something it is said to state is not signed by it for this study and this plan.
    """
    graph = body.plan.decentralised
    if graph is None:
        raise IntegrityError("neighbour-unsound", "the plan has no graph")
    beside = graph.neighbours(own_id)
    shown = [neighbour.silo_id for neighbour in body.neighbours]
    if shown != sorted(set(shown)) or not set(shown) <= set(beside):
        raise IntegrityError("neighbour-unsound", "the hub shows a silo that is no neighbour")
    return tuple(_peer(neighbour, body, graph) for neighbour in body.neighbours)


def open_models(
    peers: Iterable[Peer], fetched: dict[str, Path], own: OwnPart, identity: Identity, like: Path, folder: Path
) -> dict[str, Path]:
    """Open the fetched sealed models into ``folder`` and return those that are sound, by silo id.

    One that does not open, or is not exactly a model ``like`` the first one, is left out and noted: a neighbour that
    sends rubbish must not stop this site.
    """
    opened = {}
    for peer in peers:
        if peer.model is None or peer.silo_id not in fetched:
            continue
        target = folder / f"beside-{peer.silo_id}.safetensors"
        wrapped = next((key for key in peer.model.keys if key.silo_id == identity.silo_id), None)
        try:
            if wrapped is None:
                raise IntegrityError("neighbour-unsound", f"{peer.silo_id} has sealed nothing for this silo")
            about = context(peer.model.study_id, peer.model.round, peer.model.plan_digest)
            key = public_pair(peer.key)
            open_file(fetched[peer.silo_id], target, own.keys, identity.silo_id, peer.silo_id, key, wrapped, about)
            check_update(like, target)
        except (IntegrityError, WorkFailed) as error:
            target.unlink(missing_ok=True)
            _LOG.warning("a neighbour's model is left out", extra={"silo": peer.silo_id, "code": error.code})
            continue
        opened[peer.silo_id] = target
    return opened


def seal_model(
    model: Path, target: Path, peers: Iterable[Peer], own: OwnPart, identity: Identity, body: RoundTask
) -> tuple[BlobReference, Envelope]:
    """Encrypt this site's model for its neighbours; return the sealed file's reference and the signed statement."""
    about = context(body.study_id, body.round, body.plan_digest)
    receivers = {peer.silo_id: public_pair(peer.key) for peer in peers}
    keys = seal_file(model, target, own.keys, identity.silo_id, receivers, about)
    sealed = BlobReference(digest=digest_file(target), size=target.stat().st_size)
    statement = SealedModel(
        study_id=body.study_id,
        silo_id=identity.silo_id,
        round=body.round,
        plan_digest=body.plan_digest,
        sealed=sealed,
        keys=keys,
    )
    return sealed, seal(statement, identity.key)


def context(study_id: str, number: int, plan_digest: str) -> bytes:
    """Return what a sealed model is bound to."""
    return f"{study_id} {number} {plan_digest}".encode()


def _peer(neighbour: Neighbour, body: RoundTask, graph: Decentralised) -> Peer:
    signed_by = graph.key_of(neighbour.silo_id)
    try:
        if signed_by is None:
            raise BadEnvelope("not in the plan")
        key = open_envelope(neighbour.key, SealingKey, signed_by)
        model = None if neighbour.model is None else open_envelope(neighbour.model, SealedModel, signed_by)
    except BadEnvelope:
        raise IntegrityError("neighbour-unsound", f"{neighbour.silo_id} has not signed what it is said to") from None
    wanted = (body.study_id, neighbour.silo_id, body.plan_digest)
    if (key.study_id, key.silo_id, key.plan_digest) != wanted:
        raise IntegrityError("neighbour-unsound", f"the sealing key of {neighbour.silo_id} is for something else")
    if model is not None and (
        (model.study_id, model.silo_id, model.plan_digest) != wanted
        or model.round != body.round - 1
        or model.sealed != neighbour.sealed
    ):
        raise IntegrityError("neighbour-unsound", f"the model of {neighbour.silo_id} is for something else")
    return Peer(neighbour.silo_id, key, model)
