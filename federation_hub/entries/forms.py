"""What researchers send with the forms of these pages."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from federation_hub.accounts.pages.forms import Form
from federation_hub.errors import MalformedMessage, declared_fields
from silo_node.wire.base import Digest, Name, Title
from silo_node.wire.models import ModelCard, ModelSubmission
from silo_node.wire.transfers import BlobReference


class NewEntry(Form):
    """The card of a model and who is told of it. A field that was left empty is none."""

    name: Title
    description: Annotated[str, Field(max_length=4000)] = ""
    intended_use: Annotated[str, Field(max_length=2000)] = ""
    training_data: Annotated[str, Field(max_length=2000)] = ""
    licence: Annotated[str, Field(max_length=120)] = ""
    visibility: Literal["public", "private", "embargoed"] = "public"
    embargo_until: date | None = None
    phase: Name | None = None
    version_of: Digest | None = None

    @field_validator("embargo_until", "phase", "version_of", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    def submission(self, bundle: BlobReference, benchmark: str, version: int) -> ModelSubmission:
        """Return the submission these words make; raises ``malformed-message`` where they do not go together."""
        embargoed = self.visibility == "embargoed"
        if embargoed and self.embargo_until is None:
            raise MalformedMessage(fields=("embargo_until",))
        until = self.embargo_until if embargoed else None
        try:
            return ModelSubmission(
                bundle=bundle,
                card=ModelCard(
                    name=self.name,
                    description=self.description,
                    intended_use=self.intended_use,
                    training_data=self.training_data,
                    licence=self.licence,
                ),
                benchmark=benchmark,
                benchmark_version=version,
                phase=self.phase,
                visibility="private" if self.visibility == "private" else "public",
                embargo_until=datetime(until.year, until.month, until.day, tzinfo=UTC) if until else None,
                version_of=self.version_of,
            )
        except ValidationError as error:
            raise MalformedMessage(fields=declared_fields(error, ModelSubmission)) from None
