"""Who may send which bytes, who may read them, and one upload from its announcement to the finished blob."""

import shutil
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.config import HubConfig
from federation_hub.db import now
from federation_hub.evaluations.tables import Task
from federation_hub.models.tables import Model
from federation_hub.services import Services
from federation_hub.storage.blobs import BlobStore
from federation_hub.storage.tables import Upload
from silo_node.wire.errors import BadInput, IntegrityError, MedSiloError
from silo_node.wire.transfers import UploadRequest

_SPARE_BYTES = 256 * 1024 * 1024
_HEADER_SLACK = 1024 * 1024
_OPEN_UPLOADS = 16
_ACTIVE = ("offered", "claimed", "running", "reported")


def announce(session: Session, config: HubConfig, blobs: BlobStore, request: UploadRequest, actor: Actor) -> Upload:
    """Return the upload for some bytes: one that is going on, one this owner finished before, or a new one.

    What another owner has stored is sent again all the same: to know a digest is not to have the bytes. Raises
    ``not-permitted``, ``update-stale``, ``bundle-too-large``, ``size-mismatch``, ``rate-limited`` or ``disk-full``.
    """
    _refuse_purpose(session, config, request, actor)
    mine = select(Upload).where(Upload.owner_id == actor.id, Upload.state.in_(("receiving", "complete")))
    same = mine.where(Upload.digest == request.digest, Upload.size == request.size, Upload.purpose == request.purpose)
    for upload in session.scalars(same.order_by(Upload.state)):
        if upload.state == "receiving" or blobs.has(upload.digest):
            return upload
    if len(session.scalars(mine.where(Upload.state == "receiving")).all()) >= _OPEN_UPLOADS:
        raise MedSiloError("rate-limited")
    if shutil.disk_usage(blobs.root).free < request.size + _SPARE_BYTES:
        raise MedSiloError("disk-full")
    upload = Upload(
        digest=request.digest,
        size=request.size,
        purpose=request.purpose,
        owner_kind=actor.kind,
        owner_id=actor.id,
        organisation_id=actor.organisation_id,
        state="receiving",
    )
    session.add(upload)
    session.flush()
    return upload


def upload_of(session: Session, upload_id: str, actor: Actor) -> Upload:
    """Return one's own upload; raises ``not-found``."""
    upload = session.get(Upload, upload_id)
    if upload is None or upload.owner_id != actor.id:
        raise MedSiloError("not-found")
    return upload


def settle(services: Services, upload_id: str) -> Upload:
    """Turn an upload whose every byte has arrived into a blob, also where the hub was killed between the two.

    Its file stays until the blob is there and the database knows, so that a kill at any moment leaves something to
    settle. Raises ``state-conflict`` while another request has the upload in hand, and ``digest-mismatch``, in which
    case the bytes are thrown away.
    """
    with services.partials.settling(upload_id) as digest:
        with services.database.reading() as session:
            upload = session.get_one(Upload, upload_id)
        if upload.state == "receiving":
            if digest == upload.digest:
                services.blobs.link(services.partials.path(upload_id), digest)
            with services.database.session() as session:
                upload = session.get_one(Upload, upload_id)
                upload.state = "complete" if digest == upload.digest else "failed"
                upload.finished = now()
        services.partials.discard(upload_id)
    if upload.state == "failed":
        raise IntegrityError("digest-mismatch")
    return upload


def may_read(session: Session, digest: str, actor: Actor) -> bool:
    """Tell whether an actor may read a blob: a silo what its tasks name, a person the models of the organisation."""
    if actor.kind == "silo":
        return any(digest in named_digests(task.body) for task in _active_tasks(session, actor.id))
    model = session.get(Model, digest)
    return model is not None and model.owner_organisation_id == actor.organisation_id


def named_digests(body: object) -> Iterator[str]:
    """Yield the digests of the bytes a task names: every ``{"digest", "size"}`` anywhere in its body."""
    if isinstance(body, dict):
        if {"digest", "size"} <= body.keys():
            yield str(body["digest"])
        for value in body.values():
            yield from named_digests(value)
    elif isinstance(body, list):
        for value in body:
            yield from named_digests(value)


def _active_tasks(session: Session, silo_id: str) -> list[Task]:
    return list(session.scalars(select(Task).where(Task.silo_id == silo_id, Task.state.in_(_ACTIVE))))


def _refuse_purpose(session: Session, config: HubConfig, request: UploadRequest, actor: Actor) -> None:
    if request.purpose == "model":
        if "researcher" not in actor.roles:
            raise MedSiloError("not-permitted")
        if request.size > config.maximum_bundle_bytes:
            raise BadInput("bundle-too-large")
        return
    if actor.kind != "silo":
        raise MedSiloError("not-permitted")
    rounds = [task for task in _active_tasks(session, actor.id) if task.kind == "round"]
    if not rounds:
        raise MedSiloError("update-stale")
    # An update has exactly the tensors of the round's weights; only its safetensors header may differ in length.
    if request.size > max(int(task.body["weights"]["size"]) for task in rounds) + _HEADER_SLACK:
        raise IntegrityError("size-mismatch")
