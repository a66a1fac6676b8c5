"""A model as it is submitted: a bundle addressed by its digest, and what its owner says of it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from silo_node.wire.base import Digest, Message, Name, Timestamp, Title
from silo_node.wire.transfers import BlobReference

ModelState = Literal["received", "checking", "accepted", "rejected", "withdrawn"]


Visibility = Literal["public", "private", "embargoed"]
"""Who is told of an entry: everybody, its own organisation, or everybody from a date on."""


class ModelCard(Message):
    """What a reader should know before trusting a score (Mitchell et al. 2019, Model Cards)."""

    name: Title
    description: Annotated[str, Field(max_length=4000)] = ""
    intended_use: Annotated[str, Field(max_length=2000)] = ""
    training_data: Annotated[str, Field(max_length=2000)] = ""
    licence: Annotated[str, Field(max_length=120)] = ""
    baseline: bool = False


class ModelSubmission(Message):
    """A researcher's submission of a bundle that was uploaded before, to one benchmark."""

    bundle: BlobReference
    card: ModelCard
    benchmark: Name
    benchmark_version: Annotated[int, Field(ge=1, le=9999)]
    phase: Name | None = None
    """The phase to enter; without, the one that opened last and is open."""

    visibility: Literal["public", "private"] = "public"
    embargo_until: Timestamp | None = None
    """A public entry is kept to its owner until then."""

    version_of: Digest | None = None
    """The model this is a new version of: one of the same organisation, under the same name."""

    @model_validator(mode="after")
    def _one_wish(self) -> "ModelSubmission":
        if self.visibility == "private" and self.embargo_until is not None:
            raise ValueError("a private entry has no date on which it becomes public")
        return self


class ModelReference(Message):
    """A model in a task: its bundle and the bytes to fetch."""

    digest: Digest
    size: Annotated[int, Field(ge=1, le=2**40)]
