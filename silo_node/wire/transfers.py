"""Moving exact bytes: resumable, content-addressed, checked at both ends."""

from typing import Annotated, Literal

from pydantic import Field

from silo_node.wire.base import Count, Digest, Identifier, Message

BlobPurpose = Literal["model", "update", "masked-update", "sealed-model"]
OFFSET_HEADER = "Upload-Offset"


class BlobReference(Message):
    """Where some bytes can be had and what they must hash to."""

    digest: Digest
    size: Annotated[int, Field(ge=0, le=2**40)]


class UploadRequest(Message):
    """The wish to store bytes whose digest and size are known before the first of them is sent."""

    digest: Digest
    size: Annotated[int, Field(ge=1, le=2**40)]
    purpose: BlobPurpose


class UploadStatus(Message):
    """How far an upload has come. ``complete`` is true only after the digest was checked."""

    upload_id: Identifier
    offset: Annotated[int, Field(ge=0, le=2**40)]
    chunk_bytes: Count
    complete: bool
