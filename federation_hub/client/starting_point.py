"""A bundle folder to begin with: a benchmark's reference architecture with fresh weights, and a card beside it."""

import json
from importlib.resources import files
from pathlib import Path

from benchmarks.definition import bundled
from federation_hub.client.models import card_path
from silo_node.wire.errors import BadInput


def write_starting_point(folder: Path, benchmark: str, *, seed: int) -> Path:
    """Write a working bundle to ``folder`` and a card beside it; return the card's path. Loads torch.

    Weights are initialised by torch from ``seed``: the same seed gives the same numbers. Raises ``already-exists``
    where the folder or the card is there, ``benchmark-unknown`` where this installation has no such benchmark.
    """
    definition, card = bundled(benchmark), card_path(folder)
    for path in (folder, card):
        if path.exists():
            raise BadInput("already-exists", str(path))
    from pipelines.authoring import initial_weights, write_bundle_folder

    reference = json.loads((files("benchmarks") / benchmark / "reference" / "bundle.json").read_text("utf-8"))
    write_bundle_folder(
        folder,
        reference,
        initial_weights(reference, seed),
        title=f"{folder.name}: {definition.title}"[:120],
        description=f"Begun from the reference architecture of {benchmark} {definition.version}, seed {seed}.",
        authors="unknown",
    )
    card.write_text(_card(folder.name, benchmark, seed), encoding="utf-8")
    return card


def _card(name: str, benchmark: str, seed: int) -> str:
    return f"""\
# What readers of the leaderboard should know before they trust a score.
name = {json.dumps(name, ensure_ascii=False)}
description = "The reference architecture of {benchmark} with fresh weights (seed {seed})."
intended_use = "Research only."
training_data = "None yet."
licence = "Apache-2.0"
baseline = false
"""
