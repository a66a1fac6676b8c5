"""Sending a file to the hub in chunks, going on at the hub's offset when the connection breaks."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from federation_hub.client.connection import Connection
from silo_node.wire.digests import digest_file
from silo_node.wire.errors import BadInput, HubUnavailable, WireError
from silo_node.wire.transfers import OFFSET_HEADER, BlobPurpose, BlobReference, UploadRequest, UploadStatus

Progress = Callable[[int, int], None]
"""Called with the bytes the hub has and the bytes there are."""

_BREAKS_WITHOUT_PROGRESS = 5
_PAUSE_SECONDS = 0.5
_GO_ON = frozenset({"hub-unreachable", "offset-mismatch", "state-conflict", "unavailable"})
"""After these the hub is asked how far it is; it may still be writing what a broken connection brought."""


def upload(
    connection: Connection, path: Path, *, purpose: BlobPurpose, progress: Progress = lambda done, total: None
) -> BlobReference:
    """Send a file and return its address. A file the hub has already is not sent again.

    Raises ``BadInput`` where there is no such file, ``HubUnavailable`` after five broken chunks without progress,
    ``WireError`` where the hub refuses the file.
    """
    if not path.is_file():
        raise BadInput("file-missing", str(path))
    reference = BlobReference(digest=digest_file(path), size=path.stat().st_size)
    request = UploadRequest(digest=reference.digest, size=reference.size, purpose=purpose)
    status = UploadStatus.model_validate(connection.post("/uploads", request))
    with path.open("rb") as file:
        _send_rest(connection, file, status, reference.size, progress)
    return reference


def _send_rest(connection: Connection, file: BinaryIO, status: UploadStatus, size: int, progress: Progress) -> None:
    breaks = 0
    while not status.complete:
        progress(status.offset, size)
        try:
            moved = _send_chunk(connection, file, status)
            breaks = 0
        except (HubUnavailable, WireError) as error:
            breaks += 1
            if breaks >= _BREAKS_WITHOUT_PROGRESS or error.code not in _GO_ON:
                raise
            time.sleep(_PAUSE_SECONDS)
            moved = UploadStatus.model_validate(connection.get(f"/uploads/{status.upload_id}"))
        status = moved
    progress(size, size)


def _send_chunk(connection: Connection, file: BinaryIO, status: UploadStatus) -> UploadStatus:
    file.seek(status.offset)
    chunk = file.read(max(status.chunk_bytes, 1))
    if not chunk:
        raise HubUnavailable("unavailable", "the hub has every byte and is not done with them")
    answer = connection.send(
        "PATCH",
        f"/uploads/{status.upload_id}",
        data=chunk,
        headers={OFFSET_HEADER: str(status.offset), "Content-Type": "application/octet-stream"},
    )
    return UploadStatus.model_validate_json(answer.content)
