"""The base of every message, and the small vocabulary of field types that messages share."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time must carry its offset from UTC")
    return value.astimezone(UTC)


class Message(BaseModel):
    """A declared thing that may cross the door: frozen, strict, without unknown fields, NaN or infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$", description="A lower-case identifier.")]
"""An identifier such as ``chest_phantom`` or ``auroc``: never free text."""

Title = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""One line of text written by a researcher or an operator, never by a silo about its data."""

Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,59}$", description="A stable, coded reason.")]
"""A coded reason such as ``too-few-positives``. Reasons are codes, so that no text leaves a silo."""

Digest = Annotated[str, Field(pattern=r"^blake3:[0-9a-f]{64}$", description="BLAKE3-256 digest of exact bytes.")]
"""The address of exact bytes: ``blake3:`` and 64 lower-case hexadecimal digits (a registered OCI algorithm)."""

Fingerprint = Annotated[str, Field(pattern=r"^keyed-blake3:[0-9a-f]{64}$", description="Keyed BLAKE3 of a manifest.")]
"""A cohort's keyed fingerprint: without the site's key nobody can recompute it, and it differs per benchmark."""

Identifier = Annotated[str, Field(pattern=r"^[a-z]{2,5}-[0-9a-z]{6,32}$", description="An id the hub issued.")]
"""An id issued by the hub, such as ``silo-3k9f0q2m`` or ``study-7h2j5k8m``."""

Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_ -]{0,39}$", description="A class or structure of a benchmark.")]
Count = Annotated[int, Field(ge=0, le=10**9)]
Seconds = Annotated[float, Field(ge=0, le=10**8)]
Timestamp = Annotated[datetime, AfterValidator(_utc)]
