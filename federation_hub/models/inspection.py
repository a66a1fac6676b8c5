"""The static judgement of a submitted bundle: read as data, checked against the profile, never built or run."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.bundles import Inspection, inspect_bundle
from pipelines.errors import PipelineError
from silo_node.wire.errors import BadInput


@dataclass(frozen=True, slots=True)
class Summary:
    """What readers may know of a bundle without downloading it."""

    network: str
    arguments: dict[str, Any]
    preprocessing: tuple[str, ...]
    parameters: int
    tensors: int
    weights_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return the summary for a JSON column."""
        return {
            "network": self.network,
            "arguments": self.arguments,
            "preprocessing": list(self.preprocessing),
            "parameters": self.parameters,
            "tensors": self.tensors,
            "weights_bytes": self.weights_bytes,
        }


def judge_bundle(path: Path, definition: dict[str, Any] | None, tiers: Collection[int] = (1,)) -> Summary:
    """Check a bundle, and that it fits a benchmark where one is given.

    Raises ``BadInput`` with the bundle's code, or ``policy-model-tier`` for a sound one of a tier not taken here.
    """
    try:
        inspection = inspect_bundle(path, definition)
    except PipelineError as error:
        raise BadInput(error.code) from error
    if inspection.tier not in tiers:
        raise BadInput("policy-model-tier")
    return _summary(inspection)


def _container(inspection: Inspection) -> dict[str, Any]:
    return inspection.container.model_dump(mode="json") if inspection.container else {}


def _summary(inspection: Inspection) -> Summary:
    network = inspection.profile.network
    return Summary(
        network=inspection.profile.network_name,
        arguments=dict(network.args) if network else _container(inspection),
        preprocessing=tuple(step.name for step in inspection.profile.preprocessing),
        parameters=inspection.parameters,
        tensors=inspection.tensors,
        weights_bytes=inspection.weights_bytes,
    )
