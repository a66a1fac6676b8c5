"""Routes of bytes: resumable uploads, and downloads that can go on at an offset."""

from contextlib import suppress
from typing import cast

from flask import Blueprint, Response, request, send_file

from federation_hub.api import SILO, current_actor, route
from federation_hub.intake.bodies import watched
from federation_hub.services import Services, services
from federation_hub.states import StateConflict
from federation_hub.storage import service
from federation_hub.storage.partial import ByteStream
from federation_hub.storage.tables import Upload
from silo_node.wire.errors import IntegrityError, MedSiloError, WireError
from silo_node.wire.transfers import OFFSET_HEADER, UploadRequest, UploadStatus

blueprint = Blueprint("storage", __name__)
_WRITERS = SILO | {"researcher"}


@route(blueprint, "POST", "/uploads", body=UploadRequest, returns=UploadStatus, status=201, roles=_WRITERS)
def announce_upload(body: UploadRequest) -> UploadStatus:
    """Announce bytes by digest and size; the answer says where to begin, also after an interruption."""
    hub = services()
    with hub.database.session() as session:
        upload = service.announce(session, hub.config, hub.blobs, body, current_actor())
    return _status(upload, hub)


@route(blueprint, "GET", "/uploads/<upload_id>", returns=UploadStatus, roles=_WRITERS)
def upload_status(upload_id: str) -> UploadStatus:
    """Tell how far an upload has come."""
    hub = services()
    with hub.database.reading() as session:
        upload = service.upload_of(session, upload_id, current_actor())
    return _status(upload, hub)


@route(blueprint, "PATCH", "/uploads/<upload_id>", returns=UploadStatus, roles=_WRITERS, sends_bytes=True)
def append_to_upload(upload_id: str) -> UploadStatus:
    """Append a chunk at the offset the header names; the last one completes the blob if its digest is right."""
    hub = services()
    with hub.database.reading() as session:
        upload = service.upload_of(session, upload_id, current_actor())
    if upload.state != "receiving":
        raise StateConflict
    hub.partials.append(upload.id, _chunk(hub), offset=_offset(), size=upload.size)
    return _status(upload, hub)


@route(blueprint, "GET", "/blobs/<digest>", roles=_WRITERS, returns_bytes=True)
def blob(digest: str) -> Response:
    """Return a blob, or the part of it a ``Range`` header asks for."""
    hub = services()
    with hub.database.reading() as session:
        if not service.may_read(session, digest, current_actor()) or not hub.blobs.has(digest):
            raise MedSiloError("not-found")
    response = send_file(
        hub.blobs.path(digest), mimetype="application/octet-stream", conditional=True, etag=digest, max_age=31_536_000
    )
    response.cache_control.private = True
    return response


def _chunk(hub: Services) -> ByteStream:
    if request.content_length is None or request.content_length > hub.config.chunk_bytes:
        raise WireError("body-too-large")
    # Its type says less than it is: werkzeug's stream of a body is a raw stream with readinto.
    return watched(cast(ByteStream, request.stream))


def _offset() -> int:
    text = request.headers.get(OFFSET_HEADER, "")
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise IntegrityError("offset-mismatch")
    return int(text)


def _status(upload: Upload, hub: Services) -> UploadStatus:
    offset = upload.size if upload.state == "complete" else hub.partials.offset(upload.id)
    if upload.state == "receiving" and offset == upload.size:
        # All of it is here. Where another request is settling it, the client sees so and asks again.
        with suppress(StateConflict):
            upload = service.settle(hub, upload.id)
    return UploadStatus(
        upload_id=upload.id,
        offset=offset,
        chunk_bytes=hub.config.chunk_bytes,
        complete=upload.state == "complete",
    )
