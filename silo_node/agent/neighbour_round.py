"""One round of a study without an aggregator: from the neighbours' sealed models to this site's own."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipelines.bundles import read_bundle, with_weights
from pipelines.job import Mixing, Neighbourhood, RoundCommand, RoundEvent
from silo_node.agent.claims import Claim
from silo_node.agent.node import Node, persist
from silo_node.hub import Hub
from silo_node.neighbours.exchange import Peer, open_models, peers_of, seal_model
from silo_node.neighbours.own import OwnPart
from silo_node.outbox.delivery import SEALED
from silo_node.wire.digests import hex_part
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import PolicyRefusal
from silo_node.wire.neighbours import Exchange
from silo_node.wire.studies import RoundTask
from silo_node.wire.transfers import BlobReference


@dataclass(frozen=True)
class Sealed:
    """What leaves after a round; nothing but the list of the heard where the round only validated."""

    path: Path | None
    blob: BlobReference | None
    exchange: Exchange


@dataclass(frozen=True)
class NeighbourRound:
    """A round that has its inputs."""

    node: Node
    body: RoundTask
    peers: tuple[Peer, ...]
    opened: tuple[str, ...]
    own: OwnPart
    command: RoundCommand

    @classmethod
    def begin(cls, node: Node, hub: Hub, claim: Claim, body: RoundTask, first: Path, folder: Path) -> "NeighbourRound":
        """Fetch and open what the neighbours show; raises ``neighbour-unsound`` where the hub makes neighbours up."""
        graph = body.plan.decentralised
        if graph is None:
            raise PolicyRefusal("policy-study", "the plan has no graph")
        peers = peers_of(body, node.identity.silo_id)
        own, exchange = OwnPart.of(node.home, body.study_id), folder / "exchange"
        fetched = {
            peer.silo_id: persist(
                partial(hub.fetch, peer.model.sealed, exchange, f"{hex_part(peer.model.sealed.digest)}.sealed"),
                claim.cancelled,
                node.config.poll.backoff_seconds,
            )
            for peer in peers
            if peer.model is not None
        }
        opened = open_models(peers, fetched, own, node.identity, first, exchange)
        for path in fetched.values():
            path.unlink(missing_ok=True)
        model = exchange / "own.safetensors"
        shutil.copyfile(own.before(body.round) or first, model)
        mixing = graph.rule.model_dump(exclude_none=True) | ({} if own.gamma is None else {"gamma": own.gamma})
        neighbourhood = Neighbourhood(
            mixing=Mixing.model_validate(mixing),
            beside=tuple(Path("/exchange") / path.name for path in opened.values()),
            progress=min(1.0, (body.round - 1) / body.plan.rounds),
        )
        command = RoundCommand(
            round=body.round,
            weights=Path("/exchange") / model.name,
            validate_only=body.validate_only,
            neighbourhood=neighbourhood,
        )
        return cls(node, body, peers, tuple(opened), own, command)

    def finish(self, event: RoundEvent, model: Path) -> Sealed:
        """Keep this site's model, and seal it for the neighbours unless the round was the last."""
        kept = self.own.keep(self.body.round, model)
        pulls = event.mixed.pulls if event.mixed else ()
        heard = tuple(silo for silo, pull in zip(self.opened, pulls, strict=True) if pull > 0)
        if event.mixed is not None and event.mixed.gamma is not None and self.opened:
            self.own.note_gamma(event.mixed.gamma)
        if self.body.validate_only:
            model.unlink(missing_ok=True)
            self._bundle(kept)
            return Sealed(None, None, self._exchange(heard, None))
        target = model.with_suffix(SEALED)
        blob, statement = seal_model(kept, target, self.peers, self.own, self.node.identity, self.body)
        model.unlink(missing_ok=True)
        return Sealed(target, blob, self._exchange(heard, statement))

    def _exchange(self, heard: tuple[str, ...], statement: Envelope | None) -> Exchange:
        return Exchange(model=statement, heard=heard, shown=len(self.opened))

    def _bundle(self, weights: Path) -> None:
        """Make the last model a bundle of its own, which stays here: what this site has gained."""
        start = read_bundle(self.node.home.bundles / f"{hex_part(self.body.plan.model.digest)}.zip")
        with_weights(start, weights, self.own.folder / "model.zip")
