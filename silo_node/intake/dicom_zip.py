"""Zip archives of DICOM files, read one member at a time, within limits that a bomb runs into.

An archive says itself how much its members unpack to, and may lie; so its own account is checked before anything is
unpacked, and no member is read past its limit. Archives within archives are not opened.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from silo_node.intake.paths import LARGEST_FILE
from silo_node.intake.source import Item
from silo_node.wire.errors import BadInput

MOST_MEMBERS = 1_000_000
LARGEST_ARCHIVE = 256 * 2**30
"""Bytes all members of an archive may unpack to."""

HIGHEST_RATIO = 2_000
"""How many times its packed size a member of over a megabyte may be; deflate itself ends at 1,032."""

_CHUNK = 2**20
MARK = "!/"
"""Between an archive's path and a member's name, in an item's locator."""


def zip_items(archive: Path, locator: str, stamp: str) -> Iterator[Item]:
    """Yield the files in an archive; raises ``archive-unsafe`` for one that is damaged, encrypted or far too large."""
    for member in _members(archive):
        name = member.filename
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
        if not member.is_dir() and not hidden and not name.endswith("DICOMDIR"):
            yield Item(f"{locator}{MARK}{name}", f"{stamp}:{member.CRC:08x}")


def read_member(archive: Path, name: str) -> bytes:
    """Return a member's bytes; raises ``archive-unsafe`` when it is not what the archive says or is too large."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(name) as member:
            limit = min(opened.getinfo(name).file_size, LARGEST_FILE)
            data = member.read(limit + 1)
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, RuntimeError, NotImplementedError, ValueError):
        raise BadInput("archive-unsafe") from None
    except Exception as damage:
        # zlib, bz2 and lzma raise errors of their own for damaged members.
        raise BadInput("archive-unsafe", type(damage).__name__) from None
    if len(data) > limit:
        raise BadInput("archive-unsafe", "a member unpacks to more than it says")
    return data


def _members(archive: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError):
        raise BadInput("archive-unsafe", f"{archive.name} is damaged") from None
    if len(members) > MOST_MEMBERS or sum(member.file_size for member in members) > LARGEST_ARCHIVE:
        raise BadInput("archive-unsafe", f"{archive.name} unpacks to far too much")
    for member in members:
        _check(member, archive)
    return members


def _check(member: zipfile.ZipInfo, archive: Path) -> None:
    if member.flag_bits & 0x1:
        raise BadInput("archive-unsafe", f"{archive.name} is encrypted")
    if member.file_size > LARGEST_FILE:
        raise BadInput("archive-unsafe", f"{archive.name} has a member that is too large")
    if member.file_size > _CHUNK and member.file_size > HIGHEST_RATIO * max(member.compress_size, 1):
        raise BadInput("archive-unsafe", f"{archive.name} has a member that unpacks to far too much")
