"""A model as it is submitted: a bundle addressed by its digest, and what its owner says of it."""

from typing import Annotated, Literal

from pydantic import Field

from silo_node.wire.base import Digest, Message, Name, Title
from silo_node.wire.transfers import BlobReference

ModelState = Literal["received", "checking", "accepted", "rejected", "withdrawn"]


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


class ModelReference(Message):
    """A model in a task: its bundle and the bytes to fetch."""

    digest: Digest
    size: Annotated[int, Field(ge=1, le=2**40)]
