"""Something to begin with: a bundle folder from a benchmark's reference architecture, or a benchmark's own folder."""

import json
import re
from importlib.resources import files
from pathlib import Path

from benchmarks.definition import FILE, bundled
from federation_hub.client.models import card_path
from silo_node.wire.errors import BadInput

_PHASES = """
# When models are taken; without phases, always. Uncomment and set the dates.
# [submissions]
# a_month = 20
#
# [[phases]]
# name = "warm_up"
# title = "Warm-up"
# opens = 2027-01-01T00:00:00Z
# closes = 2027-03-01T00:00:00Z
# submissions = { a_day = 2 }
#
# [[phases]]
# name = "final"
# title = "Final"
# opens = 2027-03-01T00:00:00Z
# closes = 2027-04-01T00:00:00Z
# parent = "warm_up"                 # only who passed the warm-up
# submissions = { in_all = 3 }
# ladder = 0.005                     # a model is told of only where it is better by more than this
"""
_README = """\
# {name}

Begun from {source} ({title}). Say here what the question is, where the data come from, why these metrics,
and what a good score does not mean.
"""


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


def write_benchmark(folder: Path, source: str) -> Path:
    """Write a benchmark's folder from one of this installation: definition, README, reference network.

    Raises ``already-exists``, ``benchmark-unknown``, ``config-invalid`` for what is no name of a benchmark.
    """
    definition = bundled(source)
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,39}", folder.name):
        raise BadInput("config-invalid", "a benchmark's name has 2 to 40 lower-case letters, digits and underscores")
    if folder.exists():
        raise BadInput("already-exists", str(folder))
    template = files("benchmarks") / source
    text = (template / FILE).read_text("utf-8")
    text = re.sub(r'(?m)^name = "[^"]*"', f'name = "{folder.name}"', text, count=1)
    text = re.sub(r"(?m)^version = \d+", "version = 1", text, count=1)
    (folder / "reference").mkdir(parents=True)
    (folder / FILE).write_text(text.rstrip("\n") + "\n" + _PHASES, encoding="utf-8")
    for name in ("bundle.json", "metadata.json"):
        (folder / "reference" / name).write_text((template / "reference" / name).read_text("utf-8"), "utf-8")
    (folder / "README.md").write_text(_README.format(name=folder.name, source=source, title=definition.title), "utf-8")
    return folder


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
