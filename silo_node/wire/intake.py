"""What the hub says it has received from a silo, for the silo to compare with what it knows it has sent."""

from typing import Annotated

from pydantic import Field

from silo_node.wire.base import Count, Digest, Message, Timestamp


class IntakeEntry(Message):
    """One request body as it arrived at the hub."""

    number: Annotated[int, Field(ge=0)]
    received: Timestamp
    method: Annotated[str, Field(pattern=r"^[A-Z]{3,7}$")]
    path: Annotated[str, Field(max_length=200, pattern=r"^/[a-z0-9/{}_-]+$")]
    """The path's template, such as ``/api/v1/tasks/{id}/result``."""

    subject: Annotated[str, Field(max_length=80)]
    """The id that stands in the path; for a part of an upload also its offset."""

    digest: Digest
    """BLAKE3 of the bytes that arrived."""

    size: Count


class IntakeLog(Message):
    """A stretch of a silo's entries, oldest first; ``after`` the last number there may be more."""

    entries: Annotated[tuple[IntakeEntry, ...], Field(max_length=1000)]
    more: bool
