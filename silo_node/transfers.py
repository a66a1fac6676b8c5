"""Moving blobs: in parts that go on where they stopped, hashed while they stream, whole or not there at all.

Memory is one part's buffer, whatever the size of the blob.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import requests

from silo_node.outbox.gate import Gate
from silo_node.transport import API, Transport, parsed
from silo_node.wire.digests import Hasher, digest_file, finish, hex_part, new_hasher
from silo_node.wire.errors import HubUnavailable, IntegrityError, WireError
from silo_node.wire.transfers import OFFSET_HEADER, BlobPurpose, BlobReference, UploadRequest, UploadStatus

READ_BYTES = 1 << 20
LARGEST_PART = 32 << 20
"""A part is never larger than this, whatever the hub proposes."""

Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Report no progress."""


def download(transport: Transport, blob: BlobReference, folder: Path, name: str, progress: Progress = silent) -> Path:
    """Fetch a blob into ``folder/name`` and return that path; a file that is there already is taken as it is.

    What an interrupted call left goes on at its end. Raises :class:`HubUnavailable` where the connection breaks, and
    :class:`IntegrityError` (``digest-mismatch``, ``size-mismatch``) for other bytes than the reference names; those are
    removed.
    """
    target = folder / name
    if target.exists():
        return target
    part = folder / f".{hex_part(blob.digest)}.part"
    with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if target.exists():  # another thread fetched it while this one waited for the lock
            return target
        hasher = new_hasher()
        offset = _hash_present(file, hasher, blob.size)
        if offset < blob.size:
            _fetch_rest(transport, blob, file, hasher, offset, progress)
        if finish(hasher) != blob.digest:
            part.unlink()
            raise IntegrityError("digest-mismatch", f"{name} was removed")
        part.rename(target)
    return target


def _hash_present(file: BinaryIO, hasher: Hasher, size: int) -> int:
    """Feed what a broken download left to the hasher; return how much that is."""
    offset = 0
    while offset < size and (block := file.read(min(READ_BYTES, size - offset))):
        hasher.update(block)
        offset += len(block)
    file.truncate(offset)
    return offset


def _fetch_rest(
    transport: Transport, blob: BlobReference, file: BinaryIO, hasher: Hasher, offset: int, progress: Progress
) -> None:
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with transport.request("GET", f"/blobs/{blob.digest}", headers=headers, stream=True) as response:
        if offset and response.status_code != requests.codes.partial_content:
            raise HubUnavailable("hub-answer-unreadable", "the answer ignores where the download stands")
        while offset < blob.size:
            try:
                block = response.raw.read(min(READ_BYTES, blob.size - offset), decode_content=False)
            except Exception as error:  # urllib3's errors and the socket's share no base class
                raise HubUnavailable("hub-unreachable", f"broken while downloading: {type(error).__name__}") from None
            if not block:
                raise HubUnavailable("hub-unreachable", "the download ended early")
            hasher.update(block)
            file.write(block)
            offset += len(block)
            progress(offset, blob.size)
        if response.raw.read(1, decode_content=False):
            raise IntegrityError("size-mismatch", "the hub sent more than it announced")


def upload(
    transport: Transport,
    gate: Gate,
    path: Path,
    purpose: BlobPurpose,
    progress: Progress = silent,
    *,
    expected: BlobReference | None = None,
) -> BlobReference:
    """Send a file and return its reference; what the hub has already is not sent again.

    Raises :class:`HubUnavailable` where the connection breaks (a later call goes on at the hub's offset), and
    :class:`IntegrityError` where the file is not the ``expected`` one (nothing is sent) or the hub got other bytes.
    """
    blob = BlobReference(digest=digest_file(path), size=path.stat().st_size)
    if expected is not None and blob != expected:
        raise IntegrityError("digest-mismatch", f"{path.name} was changed after it was judged")
    request = UploadRequest(digest=blob.digest, size=blob.size, purpose=purpose)
    cleared = gate.message(request, method="POST", path=f"{API}/uploads", subject=blob.digest)
    status = parsed(transport.request("POST", "/uploads", cleared), UploadStatus)
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(min(max(status.chunk_bytes, 1), LARGEST_PART, blob.size))
        while not status.complete:
            progress(status.offset, blob.size)
            status = _send_part(transport, gate, file, memoryview(buffer), status, purpose, blob.size)
    progress(blob.size, blob.size)
    return blob


def _send_part(
    transport: Transport,
    gate: Gate,
    file: BinaryIO,
    buffer: memoryview,
    status: UploadStatus,
    purpose: BlobPurpose,
    size: int,
) -> UploadStatus:
    file.seek(status.offset)
    length = file.readinto(buffer)  # type: ignore[attr-defined]  # an unbuffered file is a RawIOBase
    if status.offset >= size:
        raise HubUnavailable("unavailable", "the hub has every byte and is not done with them")
    if not length:
        raise IntegrityError("size-mismatch", "the file became shorter while it was sent")
    cleared = gate.part(
        buffer[:length],
        purpose=purpose,
        method="PATCH",
        path=f"{API}/uploads/{{id}}",
        subject=status.upload_id,
        offset=status.offset,
    )
    headers = {OFFSET_HEADER: str(status.offset)}
    try:
        return parsed(
            transport.request("PATCH", f"/uploads/{status.upload_id}", cleared, headers=headers), UploadStatus
        )
    except WireError as error:
        if error.code == "state-conflict":  # the hub still writes what a broken connection brought
            raise HubUnavailable("unavailable") from None
        if error.code != "offset-mismatch":
            raise
        return parsed(transport.request("GET", f"/uploads/{status.upload_id}"), UploadStatus)
