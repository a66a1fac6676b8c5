"""``configs/bundle.json``: the code-free profile of a MONAI bundle.

Weights as safetensors, a network named in our registry with checked arguments, transforms from an exact list with
literal arguments, and what goes in and out. A model is data: nothing of it is ever evaluated, imported or called. The
same manifest, without a network, describes an ONNX graph (tier 2) or a container (tier 3).
"""

import json
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, ValidationError, model_validator

from pipelines.bundles.architecture import NetworkArguments
from pipelines.bundles.registry import check_network, network_arguments
from pipelines.bundles.transforms import TRANSFORMS, check_transforms
from pipelines.errors import PipelineError
from pipelines.question import InputSpec, Question, TaskKind, TransformSpec, Value, first_field

FORMAT = "code-free-bundle/1"
ONNX_FORMAT = "onnx-bundle/1"
CONTAINER_FORMAT = "container-bundle/1"
TIERS = {FORMAT: 1, ONNX_FORMAT: 2, CONTAINER_FORMAT: 3}
LabelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_ -]{0,39}$")]


class NetworkSpec(Value):
    """A registered network's name and its arguments."""

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{2,59}$")]
    args: dict[str, JsonValue]


class Profile(Value):
    """A bundle's manifest."""

    model_config = ConfigDict(strict=True)
    format: Literal["code-free-bundle/1", "onnx-bundle/1", "container-bundle/1"]
    network: NetworkSpec | None = None
    """Absent in an ONNX bundle, whose graph is its network, and where a container holds it."""

    preprocessing: Annotated[tuple[TransformSpec, ...], Field(max_length=20)] = ()
    """Applied to the benchmark's prepared image before the network; deterministic, part of the model."""

    task: TaskKind
    labels: Annotated[tuple[LabelName, ...], Field(min_length=2, max_length=20)]
    input: InputSpec
    """The prepared case it was made for, before its own preprocessing."""

    @model_validator(mode="after")
    def _labels_differ(self) -> "Profile":
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label is named twice")
        if (self.network is None) != (self.format != FORMAT):
            raise ValueError("a code-free bundle names a network, any other none")
        return self

    @property
    def tier(self) -> int:
        """1 for a code-free bundle, 2 for ONNX, 3 for a container."""
        return TIERS[self.format]

    @property
    def network_name(self) -> str:
        return {1: self.network.name if self.network else "", 2: "ONNX", 3: "container"}[self.tier]

    @property
    def reshapes(self) -> bool:
        """Whether its preprocessing may change the image's size."""
        return any(TRANSFORMS[step.name].kind == "geometry" for step in self.preprocessing)

    def network_arguments(self) -> NetworkArguments:
        """Return the network's checked arguments; see :func:`~pipelines.bundles.registry.network_arguments`.

        Raises ``model-incompatible`` for any other bundle, which has none: it can be evaluated and not trained.
        """
        if self.network is None:
            raise PipelineError("model-incompatible", "it has no network of the registry")
        return network_arguments(self.network.name, self.network.args)


def read_profile(value: dict[str, Any]) -> Profile:
    """Validate a manifest that was read as literals, with its network and its transforms.

    Raises ``bundle-invalid``, ``network-unknown``, ``network-argument-invalid``, ``network-too-large``,
    ``transform-unknown`` or ``transform-argument-invalid``.
    """
    try:
        profile = Profile.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise PipelineError("bundle-invalid", f"configs/bundle.json: field {first_field(error)}") from None
    check_transforms(profile.preprocessing, intensity_only=profile.task == "segmentation")
    if profile.network is not None:
        arguments, known = profile.network_arguments(), not profile.reshapes
        check_network(arguments, profile.task, profile.input, len(profile.labels), shape_known=known)
    return profile


def refuse_incompatible(profile: Profile, question: Question) -> None:
    """Raise ``model-incompatible`` where a model does not take the benchmark's input or give its labels."""
    for name in ("task", "labels", "input"):
        if getattr(profile, name) != getattr(question, name):
            raise PipelineError("model-incompatible", f"{name} is not the benchmark's")
