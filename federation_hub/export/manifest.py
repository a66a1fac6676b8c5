"""What an exported site holds, signed by the hub: so that a copy can be told from one that somebody changed."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from silo_node.wire.base import Digest, Message, Timestamp
from silo_node.wire.envelope import PublicKey

SITE_MANIFEST = "manifest.json"


class SiteFile(Message):
    """One file of the site."""

    path: Annotated[str, Field(min_length=1, max_length=500)]
    digest: Digest


class SiteManifest(Message):
    """Every file of an exported site but this one."""

    hub: str
    made: Timestamp
    public_key: PublicKey
    """The key it is signed with. That it is the hub's is for the reader to know from elsewhere."""

    files: tuple[SiteFile, ...]


def names_below(folder: Path) -> set[str]:
    """Return the names of all files in a folder, the manifest's left out."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return set(found) - {SITE_MANIFEST}
