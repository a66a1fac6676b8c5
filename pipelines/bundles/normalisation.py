"""Whether a registered network's normalisation layers have weights, read off its arguments: torch is not needed."""

from typing import Any

from pipelines.bundles.architecture import NetworkArguments
from pipelines.bundles.registry import network_arguments

_OF_TORCH = {"batch": True, "instance": False}
"""Whether a kind that is named without options has weights: torch's own defaults for ``affine``."""


def trains_normalisation(network: str, args: dict[str, Any]) -> bool:
    """Tell whether training changes anything in a network's normalisation layers.

    Raises ``network-unknown`` and ``network-argument-invalid``.
    """
    norm = _norm_of(network_arguments(network, args))
    return _OF_TORCH[norm] if isinstance(norm, str) else bool(norm[1].affine)


def _norm_of(arguments: NetworkArguments) -> Any:
    """Return the normalisation, which one class of MONAI calls ``norm_name``."""
    return getattr(arguments, "norm_name", None) or getattr(arguments, "norm", "instance")
