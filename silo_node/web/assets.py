"""Static files under addresses that hold a digest of their content, so that they may be cached for ever."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from silo_node.wire.digests import digest_bytes, hex_part

SHARED = Path(__file__).with_name("static")
"""The style sheet and the icon of every page of ours."""

MEDIA_TYPES = {".css": "text/css", ".svg": "image/svg+xml", ".js": "text/javascript"}
FOR_EVER = "public, max-age=31536000, immutable"
FOR_NOW = "no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file in memory; ``tag`` is the short digest that stands in its address."""

    tag: str
    media_type: str
    content: bytes


@dataclass(frozen=True)
class Assets:
    """The static files of one application, read once from its folders. They are few and small."""

    folders: tuple[Path, ...]

    @cached_property
    def files(self) -> dict[str, Asset]:
        """Every file by its name."""
        paths = [path for folder in self.folders for path in sorted(folder.iterdir()) if path.suffix in MEDIA_TYPES]
        return {path.name: _asset(path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in paths}

    def address(self, name: str) -> str:
        """Return the address of a file; it changes whenever the file does."""
        return f"/assets/{self.files[name].tag}/{name}"

    def find(self, tag: str, name: str) -> tuple[Asset, str] | None:
        """Return a file and its ``Cache-Control``: for ever under its present digest, for now under an older one."""
        found = self.files.get(name)
        return None if found is None else (found, FOR_EVER if tag == found.tag else FOR_NOW)


def _asset(content: bytes, media_type: str) -> Asset:
    return Asset(hex_part(digest_bytes(content))[:12], media_type, content)
