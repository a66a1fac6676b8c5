"""Code-free model bundles: read, inspect and pack them, without torch.

A bundle is a zip archive of exactly these members, stored without compression::

    configs/metadata.json       MONAI's bundle metadata
    configs/bundle.json         the code-free profile: network, preprocessing, task, labels, input
    docs/model_card.md          optional
    models/model.safetensors    the float32 tensors of the network; integer buffers never travel
"""

from pipelines.bundles.bundle import (
    Bundle,
    Inspection,
    inspect_bundle,
    pack_bundle,
    read_bundle,
    weights_file,
    with_weights,
)
from pipelines.bundles.registry import NETWORKS, network_arguments, network_schema
from pipelines.bundles.transforms import TRANSFORMS, check_transforms

__all__ = [
    "NETWORKS",
    "TRANSFORMS",
    "Bundle",
    "Inspection",
    "check_transforms",
    "inspect_bundle",
    "network_arguments",
    "network_schema",
    "pack_bundle",
    "read_bundle",
    "weights_file",
    "with_weights",
]
