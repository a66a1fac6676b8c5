"""A model's curves over the hospitals of a snapshot, computed from its inputs when somebody asks for them.

Curves are not in the snapshot: no rank comes from them, and a thousand models' would outweigh it.
"""

from functools import lru_cache
from typing import Any

from federation_hub.leaderboards.service import inputs_of, snapshot_of
from federation_hub.leaderboards.snapshots import labelled_blocks
from federation_hub.services import services
from silo_node.wire.errors import MedSiloError

Curves = dict[str, Any]


def curves_of(digest: str, model: str) -> Curves:
    """Return the curves of one model of a snapshot for each class that may be told.

    Raises ``not-found`` where there is no such snapshot or the model has no place in it.
    """
    return _curves(str(services().database.url), digest, model)


@lru_cache(maxsize=256)
def _curves(database: str, digest: str, model: str) -> Curves:
    """A snapshot never changes, so its curves are kept; the database's address keeps two hubs in a process apart."""
    from benchmarks.statistics.curves import model_curves
    from benchmarks.statistics.rules import benchmark_rules

    with services().database.reading() as session:
        inputs = inputs_of(session, snapshot_of(session, digest))
    if model not in {listed.digest for listed in inputs.models}:
        raise MedSiloError("not-found")
    rules = benchmark_rules(inputs.definition, digest=inputs.benchmark_digest)
    named = frozenset(site.label for site in inputs.sites.values() if site.named)
    curves = model_curves(labelled_blocks(inputs), rules, model, named_sites=named) if _scored(rules.task) else {}
    return {"format": "leaderboard-curves/1", "snapshot": digest, "model": model, "classes": curves}


def _scored(task: str) -> bool:
    """Segmentations have no scores to make curves of."""
    return task == "classification"
