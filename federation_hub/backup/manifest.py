"""What a backup says of itself: every file with its digest, and what a hub needs to be made from them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from silo_node.wire.base import Digest, Message, Timestamp
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import IntegrityError

MANIFEST = "manifest.json"
HOME = "home"
"""Where a backup keeps what belongs in the home folder."""

DUMP = "database.pgdump"
"""A PostgreSQL database, beside the home folder's files."""

_PART = r"[0-9A-Za-z_-][0-9A-Za-z._-]*"


class BackupFile(Message):
    """One file. Its path has no hidden part and no ``..``, so that nothing is ever written outside the new home."""

    path: Annotated[str, Field(pattern=rf"^({HOME}(/{_PART})+|{DUMP})$", max_length=300)]
    size: Annotated[int, Field(ge=0)]
    digest: Digest


class Manifest(Message):
    """A backup in words for a program. It is written last: a folder without one is no backup."""

    format: Literal["hub-backup/1"] = "hub-backup/1"
    made: Timestamp
    release: str
    schema_revision: str
    database: Literal["sqlite", "postgresql"]
    hub: str
    public_key: str
    """The key silos have pinned. Its private half is among the files."""

    files: tuple[BackupFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Return a backup's manifest and the digest of its bytes; raises ``backup-invalid``."""
    try:
        data = (folder / MANIFEST).read_bytes()
        return Manifest.model_validate_json(data), digest_bytes(data)
    except OSError as error:
        raise IntegrityError("backup-invalid", f"{folder} holds no {MANIFEST} that can be read") from error
    except ValidationError as error:
        raise IntegrityError("backup-invalid", f"{folder / MANIFEST} is not as a backup's is") from error
