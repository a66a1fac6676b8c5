"""Making bundles: a new one with torch's own initialisation, or one from weights trained elsewhere."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import save

from pipelines.bundles.archive import CARD, CONTAINER, METADATA, PROFILE, write_archive
from pipelines.bundles.bundle import Inspection, inspect_bundle, pack_bundle
from pipelines.bundles.metadata import new_metadata
from pipelines.bundles.profile import CONTAINER_FORMAT, FORMAT, read_profile
from pipelines.container import ContainerModel
from pipelines.networks import Arrays, build_network, to_arrays
from pipelines.question import Question


def new_profile(
    question: Question, network: str, args: dict[str, Any], preprocessing: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    """Return ``configs/bundle.json`` of a model for a benchmark; the codes of a refused one are ``read_profile``'s."""
    profile = {
        "format": FORMAT,
        "network": {"name": network, "args": args},
        "preprocessing": list(preprocessing),
        "task": question.task,
        "labels": list(question.labels),
        "input": {"channels": question.input.channels, "shape": list(question.input.shape)},
    }
    read_profile(profile)
    return profile


def initial_weights(profile: dict[str, Any], seed: int) -> Arrays:
    """Return the tensors of a freshly initialised network; the same seed gives the same numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return to_arrays(build_network(read_profile(profile).network_arguments()))


def write_bundle_folder(
    folder: Path,
    profile: dict[str, Any],
    weights: Arrays,
    *,
    title: str,
    description: str,
    authors: str,
    card: str = "",
) -> None:
    """Lay out a bundle's files under ``folder`` for a person to look at and to pack."""
    checked = read_profile(profile)
    metadata = new_metadata(
        title=title,
        description=description,
        authors=authors,
        task=checked.task,
        labels=checked.labels,
        spec=checked.input,
    )
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "configs/bundle.json").write_text(json.dumps(profile, indent=2) + "\n")
    (folder / "configs/metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
    (folder / "docs/model_card.md").write_text(card or f"# {title}\n\n{description}\n")
    (folder / "models/model.safetensors").write_bytes(save(weights))


def make_bundle(
    out: Path, profile: dict[str, Any], weights: Arrays, *, title: str, description: str, authors: str, card: str = ""
) -> Inspection:
    """Write and pack a bundle in one go and return what its inspection found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundle_folder(folder, profile, weights, title=title, description=description, authors=authors, card=card)
        return pack_bundle(folder, out)


def make_container_bundle(
    out: Path,
    question: Question,
    container: ContainerModel,
    *,
    title: str,
    description: str,
    authors: str,
    preprocessing: tuple[dict[str, Any], ...] = (),
) -> Inspection:
    """Pack a bundle of tier 3: it names an image by its digest and what to run in it, and holds no code itself."""
    profile = {
        "format": CONTAINER_FORMAT,
        "preprocessing": list(preprocessing),
        "task": question.task,
        "labels": list(question.labels),
        "input": {"channels": question.input.channels, "shape": list(question.input.shape)},
    }
    metadata = new_metadata(
        title=title,
        description=description,
        authors=authors,
        task=question.task,
        labels=question.labels,
        spec=question.input,
    )
    parts = {METADATA: metadata, PROFILE: profile, CONTAINER: container.model_dump(mode="json")}
    content: dict[str, Path | bytes] = {name: json.dumps(value, indent=2).encode() for name, value in parts.items()}
    write_archive(out, content | {CARD: f"# {title}\n\n{description}\n".encode()})
    return inspect_bundle(out)
