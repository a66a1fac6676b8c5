"""Group normalisation in the place of batch normalisation, in a bundle: everything else stays as it is.

Batch normalisation makes one patient's gradient depend on the others of the batch. Scales and shifts are taken over;
the running statistics go, so the converted model is a start for training and not the trained model itself.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from pipelines.authoring import initial_weights
from pipelines.bundles import archive
from pipelines.bundles.bundle import Bundle, Inspection, inspect_bundle
from pipelines.bundles.weights import read_tensors
from pipelines.errors import PipelineError
from pipelines.networks import Arrays

GROUPS = (8, 4, 2, 1)
"""Tried in this order: the number of groups must divide every number of channels."""


def with_group_normalisation(bundle: Bundle, out: Path) -> Inspection:
    """Write the bundle with group normalisation to ``out`` and return what its inspection found.

    Raises ``network-argument-invalid`` where the network takes no group normalisation.
    """
    members = archive.read_members(bundle.path)
    content: dict[str, Path | bytes] = {
        name: archive.read_small(bundle.path, member) for name, member in members.items() if name != archive.WEIGHTS
    }
    profile, fresh = _exchanged(json.loads(bytes(archive.read_small(bundle.path, members[archive.PROFILE]))))
    old = read_tensors(bundle.path, bundle.index)
    kept = {name: old[name] if name in old and old[name].shape == one.shape else one for name, one in fresh.items()}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "model.safetensors"
        save_file(kept, weights)
        changed: dict[str, Path | bytes] = {
            archive.PROFILE: json.dumps(profile, indent=2).encode() + b"\n",
            archive.WEIGHTS: weights,
        }
        archive.write_archive(out, content | changed)
    return inspect_bundle(out)


def _exchanged(profile: dict[str, Any]) -> tuple[dict[str, Any], Arrays]:
    args = profile["network"]["args"]
    for groups in GROUPS:
        args["norm"] = ["group", {"num_groups": groups}]
        try:
            return profile, initial_weights(profile, 0)
        except PipelineError as error:
            refused = error
    raise refused
