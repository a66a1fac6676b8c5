"""``configs/metadata.json``: the fields of MONAI's bundle metadata, read and written without MONAI.

MONAI checks this file against a schema it downloads from an address *inside the file*, so a bundle could make a
hospital call out. Here the fields are written down; an address in ``schema`` is kept as text and never opened.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pipelines.errors import PipelineError
from pipelines.question import InputSpec, TaskKind, first_field

Text = Annotated[str, Field(min_length=1, max_length=4000)]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z.+-]{1,40}$")]


class DataFormat(BaseModel):
    """What goes in and out, in MONAI's words."""

    model_config = ConfigDict(extra="forbid", strict=True)
    inputs: dict[str, dict[str, JsonValue]]
    outputs: dict[str, dict[str, JsonValue]]
    intermediate_outputs: dict[str, JsonValue] = {}


class Metadata(BaseModel):
    """The metadata of a bundle; names and meaning as in MONAI's ``meta_schema``."""

    model_config = ConfigDict(extra="forbid", strict=True)
    schema_: Annotated[str, Field(alias="schema", max_length=400)] = ""
    version: Version
    changelog: Annotated[dict[str, Text], Field(max_length=100)] = {}
    monai_version: Version
    pytorch_version: Version
    numpy_version: Version
    required_packages_version: Annotated[dict[str, Version], Field(max_length=100)] = {}
    optional_packages_version: Annotated[dict[str, Version], Field(max_length=100)] = {}
    supported_apps: dict[str, JsonValue] = {}
    name: Annotated[str, Field(max_length=120)] = ""
    task: Text
    description: Text
    authors: Text
    copyright: Text
    data_source: Annotated[str, Field(max_length=4000)] = ""
    data_type: Annotated[str, Field(max_length=200)] = ""
    image_classes: Annotated[str, Field(max_length=1000)] = ""
    label_classes: Annotated[str, Field(max_length=1000)] = ""
    pred_classes: Annotated[str, Field(max_length=1000)] = ""
    eval_metrics: dict[str, JsonValue] = {}
    intended_use: Annotated[str, Field(max_length=4000)] = ""
    references: Annotated[list[Text], Field(max_length=100)] = []
    network_data_format: DataFormat


def read_metadata(value: dict[str, Any]) -> Metadata:
    """Validate metadata that was read as literals; raises ``bundle-invalid``."""
    try:
        return Metadata.model_validate(value)
    except ValidationError as error:
        raise PipelineError("bundle-invalid", f"configs/metadata.json: field {first_field(error)}") from None


def new_metadata(
    *, title: str, description: str, authors: str, task: TaskKind, labels: tuple[str, ...], spec: InputSpec
) -> dict[str, Any]:
    """Write metadata for a new bundle: float32 image in, one logit a label out."""
    image = {
        "type": "image",
        "format": "magnitude",
        "num_channels": spec.channels,
        "spatial_shape": list(spec.shape),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {},
    }
    prediction = {
        "type": "probabilities" if task == "classification" else "image",
        "format": "classes" if task == "classification" else "segmentation",
        "num_channels": len(labels),
        "spatial_shape": [] if task == "classification" else list(spec.shape),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(index): label for index, label in enumerate(labels)},
    }
    return {
        "version": "1.0.0",
        "monai_version": "1.6.1",
        "pytorch_version": "2.13.0",
        "numpy_version": "2.0.0",
        "name": title,
        "task": f"{task} of {', '.join(labels[1:])}",
        "description": description,
        "authors": authors,
        "copyright": authors,
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": prediction}},
    }
