"""A snapshot from its inputs: a pure function, so that the same inputs always give the same bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json

from benchmarks.statistics.blocks import SiteBlock, site_block
from benchmarks.statistics.rules import benchmark_rules
from federation_hub.leaderboards.labels import PublicSite
from silo_node.wire.canonical import canonical_bytes, message_digest
from silo_node.wire.digests import hex_part


@dataclass(frozen=True, slots=True)
class AcceptedBlock:
    """A hospital's accepted estimate block: the digest of its signed bytes, who sent it, and its JSON as text.

    A large board has thousands of blocks, which parsed take ten times the memory: each is parsed when it is looked at.
    """

    digest: str
    silo_id: str
    text: str

    @property
    def block(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = from_json(self.text)
        return found


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that has its place on the benchmark. ``study`` is the id of the study that made it.

    ``attempt`` is the organisation's how manieth model it is there.
    """

    digest: str
    name: str
    baseline: bool
    organisation: str
    study: str | None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class BoardInputs:
    """Everything a snapshot depends on."""

    definition: Mapping[str, Any]
    benchmark_digest: str
    blocks: tuple[AcceptedBlock, ...]
    models: tuple[ListedModel, ...]
    sites: Mapping[str, PublicSite]


def snapshot_bytes(inputs: BoardInputs) -> bytes:
    """Return the snapshot in RFC 8785 canonical bytes.

    Hospitals appear under their public labels only: a silo's id would let readers follow it over benchmarks.
    """
    # Loading scipy takes longer than starting the rest of the hub, and most starts compute no board.
    from benchmarks.statistics.leaderboard import ModelEntry, build_leaderboard

    rules = benchmark_rules(inputs.definition, digest=inputs.benchmark_digest)
    told = [inputs.sites[block.silo_id] for block in inputs.blocks]
    board = build_leaderboard(
        rules,
        labelled_blocks(inputs),
        [ModelEntry(model.digest, model.name, model.baseline) for model in inputs.models],
        seed=seed_of(inputs),
        named_sites=[site.label for site in told if site.shown and site.named],
        pseudonymous_sites=[site.label for site in told if site.shown and not site.named],
    )
    entries = {
        model.digest: {"organisation": model.organisation, "study": model.study, "attempt": model.attempt}
        for model in inputs.models
    }
    # Canonical JSON sorts the keys of an object, so the benchmark's own order is written as lists.
    order = {"metrics": [rule.name for rule in rules.metrics], "labels": list(rules.reported_labels)}
    return canonical_bytes(board | order | {"minimum_sites": rules.limits.minimum_sites, "entries": entries})


def seed_of(inputs: BoardInputs) -> int:
    """Return the seed of the rank draws, 0 to 2**31 - 1: nobody can choose it but by other inputs."""
    named = {
        "benchmark": inputs.benchmark_digest,
        "blocks": sorted(block.digest for block in inputs.blocks),
        "models": sorted(model.digest for model in inputs.models),
    }
    return int(hex_part(message_digest(named))[:8], 16) >> 1


def labelled_blocks(inputs: BoardInputs) -> list[SiteBlock]:
    """Return the blocks under the public labels of their hospitals."""
    return [_labelled(block, inputs.sites[block.silo_id]) for block in inputs.blocks]


def _labelled(block: AcceptedBlock, site: PublicSite) -> SiteBlock:
    return replace(site_block(block.block, digest=block.digest), site=site.label)
