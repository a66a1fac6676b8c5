"""The exact list of networks a code-free bundle may name.

A name is looked up in a dictionary and never imported: ``monai.`` as a prefix would admit
``monai.apps.utils.download_url`` and ``monai.bundle.run``. What builds the module is in ``pipelines.networks``, which
needs torch; a test keeps the two lists equal.
"""

import json
from typing import Any

from pydantic import ValidationError

from pipelines.bundles.architecture import NetworkArguments
from pipelines.bundles.classifiers import ClassifierArguments, DenseNetArguments, ResNetArguments
from pipelines.bundles.segmenters import (
    AttentionUnetArguments,
    BasicUNetArguments,
    DynUNetArguments,
    SegResNetArguments,
    UNetArguments,
)
from pipelines.errors import PipelineError
from pipelines.question import InputSpec, TaskKind, first_field

MAX_PARAMETERS = 500_000_000
"""Two gigabytes of float32."""

NETWORKS: dict[str, type[NetworkArguments]] = {
    kind.network: kind
    for kind in (
        AttentionUnetArguments,
        BasicUNetArguments,
        ClassifierArguments,
        DenseNetArguments,
        DynUNetArguments,
        ResNetArguments,
        SegResNetArguments,
        UNetArguments,
    )
}


def network_arguments(name: str, args: dict[str, Any]) -> NetworkArguments:
    """Return the checked arguments of a registered network.

    Raises ``network-unknown``, ``network-argument-invalid`` (naming the argument, never its value) and, before anything
    is built, ``network-too-large``.
    """
    kind = NETWORKS.get(name)
    if kind is None:
        raise PipelineError("network-unknown", f"choose from {', '.join(NETWORKS)}")
    try:
        arguments = kind.model_validate_json(json.dumps(args))
    except (ValidationError, ValueError) as error:
        field = first_field(error) if isinstance(error, ValidationError) else "(root)"
        raise PipelineError("network-argument-invalid", f"{name}: argument {field}") from None
    if arguments.parameter_bound() > MAX_PARAMETERS:
        raise PipelineError("network-too-large", f"{name} may have more than {MAX_PARAMETERS:,} parameters")
    return arguments


def check_network(
    arguments: NetworkArguments, task: TaskKind, spec: InputSpec, labels: int, *, shape_known: bool = True
) -> None:
    """Raise ``network-argument-invalid`` where a network cannot answer a question of this shape.

    ``shape_known`` is false where the bundle's own preprocessing changes the image's size; then only a run can tell.
    """
    shape = arguments.fixed_shape
    checks = (
        ("kind of task", arguments.task == task),
        ("number of spatial dimensions", arguments.dimensions == spec.dimensions),
        ("number of input channels", arguments.input_channels == spec.channels),
        ("number of outputs", arguments.outputs == labels),
        ("shape", shape is None or not shape_known or shape == spec.shape),
    )
    wrong = next((name for name, fits in checks if not fits), None)
    if wrong:
        raise PipelineError(
            "network-argument-invalid", f"{arguments.network}: its {wrong} does not fit input and labels"
        )


def network_schema(name: str) -> dict[str, Any]:
    """Return the JSON schema of a network's arguments, for documentation and ``medsilo model networks``."""
    if name not in NETWORKS:
        raise PipelineError("network-unknown", f"choose from {', '.join(NETWORKS)}")
    return NETWORKS[name].model_json_schema()
