"""Compressed updates as the plain ones they stand for, made when they are needed and thrown away with them."""

from pathlib import Path

from federation_hub.storage.blobs import BlobStore
from pipelines.compression.files import decompress, is_compressed
from pipelines.errors import PipelineError
from silo_node.wire.compression import Known, fraction_of
from silo_node.wire.digests import hex_part
from silo_node.wire.errors import IntegrityError


def plain_update(blobs: BlobStore, digest: str, base: Path, compression: Known) -> Path:
    """Return the plain update of an uploaded one: itself, or the file it unpacks to.

    A site that cannot compress, or not at this level, may always send plain safetensors.

    Raises :class:`IntegrityError` ``update-unsound`` where it does not unpack to exactly the tensors of ``base``.
    """
    if compression.level == "none" or not is_compressed(blobs.path(digest)):
        return blobs.path(digest)
    out = _unpacked(blobs, digest)
    if not out.exists():
        unpack(blobs.path(digest), base, out, compression)
    return out


def unpack(compressed: Path, base: Path, out: Path, compression: Known) -> None:
    """Write the plain update of a compressed one; raises :class:`IntegrityError` ``update-unsound``."""
    if compression.level == "none":
        raise ValueError("nothing to unpack")
    try:
        decompress(compressed, base, out, compression.level, fraction=fraction_of(compression))
    except PipelineError as error:
        raise IntegrityError("update-unsound", error.detail) from error


def forget_plain(blobs: BlobStore, digest: str) -> None:
    """Remove the plain update of one that nobody needs any more."""
    _unpacked(blobs, digest).unlink(missing_ok=True)


def _unpacked(blobs: BlobStore, digest: str) -> Path:
    return blobs.scratch / f"{hex_part(digest)}.plain"
