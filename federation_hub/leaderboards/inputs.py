"""What a snapshot was computed from: how it is kept, who may have it, and how it travels.

The blocks themselves lie in the hub under their digests and are never deleted, so a snapshot keeps only which they were
and how each hospital was told at the time. What travels holds nothing a reader could follow from one benchmark to
another: hospitals by their labels, and of a block only what the statistics read of the models the board lists.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from benchmarks.statistics.rules import benchmark_rules
from federation_hub.leaderboards.labels import PublicSite
from federation_hub.leaderboards.projection import only_models
from federation_hub.leaderboards.snapshots import AcceptedBlock, BoardInputs, ListedModel

FORMAT = "leaderboard-inputs/1"
SUBGROUP_SITES = 3
"""A subgroup's numbers need so many hospitals, here as on the board."""

READ_BY_STATISTICS = ("models", "finished", "cases", "patients", "failed", "classes", "structures")
Json = Mapping[str, Any]


def manifest(inputs: BoardInputs) -> dict[str, Any]:
    """Return what is kept with a snapshot."""
    reporting = {block.silo_id for block in inputs.blocks}
    return {
        "blocks": sorted(block.digest for block in inputs.blocks),
        "models": [asdict(model) for model in inputs.models],
        "sites": [asdict(site) for silo_id, site in sorted(inputs.sites.items()) if silo_id in reporting],
    }


def from_manifest(kept: Json, definition: Json, digest: str, blocks: Sequence[AcceptedBlock]) -> BoardInputs:
    """Return the inputs a snapshot keeps, with its ``blocks`` as the hub holds them, in any order."""
    sites = [PublicSite(**site) for site in kept["sites"]]
    return BoardInputs(
        definition=definition,
        benchmark_digest=digest,
        blocks=tuple(sorted(blocks, key=lambda block: block.digest)),
        models=tuple(ListedModel(**model) for model in kept["models"]),
        sites={site.silo_id: site for site in sites},
    )


def open_to_all(inputs: BoardInputs) -> bool:
    """Tell whether everybody may have the inputs.

    Every hospital lets its own results be shown, and no model is at fewer hospitals than the benchmark publishes from.
    """
    minimum = benchmark_rules(inputs.definition, digest=inputs.benchmark_digest).limits.minimum_sites
    pairs = {(model, block.silo_id) for block in inputs.blocks for model in block.block["models"]}
    counts = Counter(model for model, _ in pairs)
    shown = all(inputs.sites[block.silo_id].shown for block in inputs.blocks)
    return shown and all(counts[model.digest] in (0, *range(minimum, len(pairs) + 1)) for model in inputs.models)


def inputs_bytes(inputs: BoardInputs) -> bytes:
    """Return the inputs as they travel, as JSON."""
    told, listed = _groups_told(inputs.blocks), frozenset(model.digest for model in inputs.models)
    document: dict[str, Any] = {
        "format": FORMAT,
        "definition": inputs.definition,
        "benchmark_digest": inputs.benchmark_digest,
        "models": [asdict(model) for model in inputs.models],
        "sites": [_site(inputs.sites[silo_id]) for silo_id in sorted({block.silo_id for block in inputs.blocks})],
        "blocks": [
            {
                "site": inputs.sites[block.silo_id].label,
                "digest": block.digest,
                "block": only_models(_read(block.block, told), listed),
            }
            for block in inputs.blocks
        ],
    }
    document["sites"] = sorted(document["sites"], key=lambda site: str(site["label"]))
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def read_inputs(body: bytes) -> BoardInputs:
    """Read inputs that travelled; raises ``ValueError`` for anything else.

    A hospital's label stands for its id, which nobody outside is told.
    """
    document = json.loads(body)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("these are no inputs of a leaderboard")
    try:
        sites = {site["label"]: PublicSite(silo_id=site["label"], **site) for site in document["sites"]}
        blocks = [
            AcceptedBlock(one["digest"], one["site"], json.dumps(one["block"] | {"silo_id": one["site"]}))
            for one in document["blocks"]
        ]
        kept = {"sites": [], "models": document["models"]}
        found = from_manifest(kept, document["definition"], document["benchmark_digest"], blocks)
    except (KeyError, TypeError) as error:
        raise ValueError("these are no whole inputs of a leaderboard") from error
    return replace(found, sites=sites)


def _read(block: Json, told: Collection[tuple[str, str]]) -> dict[str, Any]:
    subgroups = [group for group in block["subgroups"] if _name(group) in told]
    return {name: block[name] for name in READ_BY_STATISTICS} | {"subgroups": subgroups}


def _site(site: PublicSite) -> dict[str, Any]:
    return {"label": site.label, "named": site.named, "shown": site.shown}


def _groups_told(blocks: Iterable[AcceptedBlock]) -> set[tuple[str, str]]:
    """The subgroups enough hospitals report for their numbers to be on the board."""
    reported = {
        (_name(group), block.silo_id)
        for block in blocks
        for group in block.block["subgroups"]
        if group["status"] == "estimated"
    }
    counts = Counter(name for name, _ in reported)
    return {name for name, count in counts.items() if count >= SUBGROUP_SITES}


def _name(group: Json) -> tuple[str, str]:
    return group["attribute"], group["level"]
