"""A content-addressed store of blobs in one folder.

A blob appears under its address by one atomic rename after its bytes were hashed, so a reader finds the whole of it
or nothing; whatever is unfinished lies in other folders of the same file system.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from silo_node.wire.digests import digest_bytes, finish, hex_part, new_hasher
from silo_node.wire.errors import MedSiloError

_BLOCK = 1024 * 1024


class BlobStore:
    """Blobs under ``root``: ``blake3/ab/abcd...``; ``partial/`` holds uploads, ``scratch/`` files being made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blake3"
        self.partial = root / "partial"
        self.scratch = root / "scratch"
        for folder in (self._blobs, self.partial, self.scratch):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, digest: str) -> Path:
        """Return where the blob of this address lies, or would lie. Never write there."""
        digits = hex_part(digest)
        return self._blobs / digits[:2] / digits

    def has(self, digest: str) -> bool:
        """Tell whether the blob is here, whole."""
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """Return the blob's size in bytes; raises ``not-found``."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as error:
            raise MedSiloError("not-found") from error

    def open_read(self, digest: str) -> BinaryIO:
        """Open the blob for reading; raises ``not-found``."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError as error:
            raise MedSiloError("not-found") from error

    def new_scratch(self) -> Path:
        """Return a fresh path beside the blobs to write a file that :meth:`put_file` will take."""
        return self.scratch / secrets.token_hex(12)

    def put_bytes(self, data: bytes) -> str:
        """Store some bytes and return their address."""
        path = self.new_scratch()
        path.write_bytes(data)
        return self.adopt(path, digest_bytes(data))

    def put_file(self, path: Path) -> str:
        """Move a finished file of the same file system into the store and return its address.

        It is read in blocks, for a memory map would count the whole file as the hub's resident memory.
        """
        hasher = new_hasher()
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                hasher.update(block)
        return self.adopt(path, finish(hasher))

    def adopt(self, path: Path, digest: str) -> str:
        """Move a finished file whose address the caller has just computed from its bytes."""
        os.replace(path, self._place(path, digest))
        return digest

    def link(self, path: Path, digest: str) -> None:
        """Make a finished file a blob and leave it where it is, too; one that is a blob already stays."""
        with suppress(FileExistsError):
            os.link(path, self._place(path, digest))

    def _place(self, path: Path, digest: str) -> Path:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        target = self.path(digest)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        return target

    def delete(self, digest: str) -> None:
        """Forget a blob nothing refers to any more; one that is not here is forgotten already."""
        self.path(digest).unlink(missing_ok=True)
