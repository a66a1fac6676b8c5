"""``models/container.json``: what is run of a model of tier 3, which brings its own code.

The bundle's digest pins the image's, so a site that has let the one in by its digest has let in just that image. The
image itself never travels through the hub: a person of the site loads it.
"""

import json
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from pipelines.errors import PipelineError
from pipelines.question import Value, first_field

Word = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ContainerModel(Value):
    """An image by its digest, and the command that answers every case of ``/input`` in ``/output``."""

    model_config = ConfigDict(strict=True)
    image: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/:-]{0,200}@sha256:[0-9a-f]{64}$")]
    command: Annotated[tuple[Word, ...], Field(min_length=1, max_length=32)]


def read_container(value: dict[str, Any]) -> ContainerModel:
    """Validate what names a container; raises ``bundle-invalid`` with the field."""
    try:
        found = ContainerModel.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise PipelineError("bundle-invalid", f"models/container.json: field {first_field(error)}") from None
    if found.command[0].startswith("-"):
        raise PipelineError("bundle-invalid", "models/container.json: field command")
    return found
