"""The bundle's archive: one plain layout of a zip file, written byte for byte the same and read with suspicion.

Members are stored, not compressed, in a fixed order, without gaps, with fixed times. So the same content has the same
digest everywhere, the weights can be read in place, there is nothing to inflate (no bomb) and nowhere to hide a byte.
"""

import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import PipelineError

METADATA = "configs/metadata.json"
PROFILE = "configs/bundle.json"
WEIGHTS = "models/model.safetensors"
ONNX = "models/model.onnx"
CONTAINER = "models/container.json"
CARD = "docs/model_card.md"
ORDER = (METADATA, PROFILE, CARD, WEIGHTS, ONNX, CONTAINER)
MODELS = (WEIGHTS, ONNX, CONTAINER)
"""Of tier 1, 2 and 3: a bundle has exactly one of them."""

REQUIRED = frozenset({METADATA, PROFILE, WEIGHTS})

SMALL_LIMIT = 256 * 1024
MAX_BYTES = 2_100_000_000
CODE_SUFFIXES = frozenset(
    {".bin", ".ckpt", ".dll", ".ipynb", ".js", ".npy", ".npz", ".onnx", ".pickle", ".pkl", ".pt", ".pt2", ".pth", ".py"}
    | {".pyc", ".sh", ".so", ".torchscript", ".ts", ".yaml", ".yml"}
)
"""Names that hold or may hold code, so that the refusal can say the right thing."""

_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Member:
    """Where a member's bytes lie in the archive."""

    name: str
    offset: int
    size: int
    crc: int


def read_members(path: Path) -> dict[str, Member]:
    """Return the members of a bundle's archive after checking its layout.

    Raises ``bundle-too-large``, ``bundle-has-code`` for a member that is or may be code, and
    ``bundle-archive-unsafe`` for anything else that is not the one plain layout.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise PipelineError("bundle-too-large", f"more than {MAX_BYTES} bytes")
    with path.open("rb") as file:
        central = _end_record(file, size)
        members = _central_directory(path)
        position = 0
        for entry in members:
            position = _local_header(file, entry, position)
        if position != central:
            raise _unsafe("there are bytes that belong to no member")
    return {
        entry.filename: Member(entry.filename, _data_offset(entry), entry.file_size, entry.CRC) for entry in members
    }


def read_small(path: Path, member: Member) -> bytes:
    """Return the bytes of a small member, checked; raises ``bundle-invalid`` for a large one."""
    if member.size > SMALL_LIMIT:
        raise PipelineError("bundle-invalid", f"{member.name} is larger than {SMALL_LIMIT} bytes")
    with path.open("rb") as file:
        file.seek(member.offset)
        data = file.read(member.size)
    if zlib.crc32(data) != member.crc:
        raise _unsafe(f"{member.name} is damaged")
    return data


def write_archive(out: Path, content: dict[str, Path | bytes]) -> None:
    """Write a bundle's archive; the same content gives the same bytes."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name in ORDER:
            if name in content:
                _write_member(archive, name, content[name])


def refuse_names(names: list[str]) -> None:
    """Raise where the members' names are not exactly those of a bundle."""
    extra = sorted(set(names) - set(ORDER))
    code = next((name for name in extra if Path(name).suffix.lower() in CODE_SUFFIXES), None)
    if code is not None:
        raise PipelineError("bundle-has-code", f"it holds a {Path(code).suffix.lower()} file")
    if extra:
        raise _unsafe("it holds a file that is not part of a bundle")
    if len(set(names)) != len(names):
        raise _unsafe("a member occurs twice")
    if sum(name in MODELS for name in names) > 1:
        raise _unsafe("it holds two models")
    missing = sorted(REQUIRED - {WEIGHTS if name in MODELS else name for name in names})
    if missing:
        raise PipelineError("bundle-invalid", f"{missing[0]} is missing")


def _write_member(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> None:
    info = zipfile.ZipInfo(name, _FIXED_TIME)
    info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    if isinstance(content, bytes):
        archive.writestr(info, content)
        return
    info.file_size = content.stat().st_size
    with content.open("rb") as source, archive.open(info, "w") as target:
        while block := source.read(1 << 20):
            target.write(block)


def _end_record(file: BinaryIO, size: int) -> int:
    """Check the last 22 bytes before ``zipfile`` parses anything: a huge directory would cost memory."""
    if size < _END.size:
        raise _unsafe("it is not a zip archive")
    file.seek(size - _END.size)
    magic, disk, first, here, total, length, offset, comment = _END.unpack(file.read(_END.size))
    if magic != b"PK\x05\x06" or comment or disk or first or here != total:
        raise _unsafe("it is not a plain zip archive")
    if total > 64 or length > 64 * 1024 or offset + length + _END.size != size:
        raise _unsafe("its directory is too large or not where it should be")
    return int(offset)


def _central_directory(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise _unsafe("its directory is damaged") from None
    for entry in entries:
        _refuse_entry(entry)
    refuse_names([entry.filename for entry in entries])
    return entries


def _refuse_entry(entry: zipfile.ZipInfo) -> None:
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise _unsafe("it holds a link or a folder")
    if entry.filename != entry.orig_filename or "\\" in entry.filename or ".." in Path(entry.filename).parts:
        raise _unsafe("a member's name leads elsewhere")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise _unsafe("a member is compressed")
    if entry.flag_bits & ~0x800 or entry.extra or entry.comment:
        raise _unsafe("a member has flags, extra fields or a comment")


def _local_header(file: BinaryIO, entry: zipfile.ZipInfo, position: int) -> int:
    """Check that a member starts where the last one ended and that both of its headers agree; return its end."""
    file.seek(position)
    raw = file.read(_LOCAL.size)
    if entry.header_offset != position or len(raw) != _LOCAL.size:
        raise _unsafe("members overlap or leave a gap")
    magic, _, flags, method, _, _, crc, packed, size, name_length, extra = _LOCAL.unpack(raw)
    agrees = (magic, flags, method, crc, packed, size, extra) == (
        b"PK\x03\x04",
        entry.flag_bits,
        entry.compress_type,
        entry.CRC,
        entry.compress_size,
        entry.file_size,
        0,
    )
    if not agrees or file.read(name_length) != entry.filename.encode():
        raise _unsafe("a member's two headers disagree")
    return _data_offset(entry) + entry.file_size


def _data_offset(entry: zipfile.ZipInfo) -> int:
    return entry.header_offset + _LOCAL.size + len(entry.filename.encode())


def _unsafe(detail: str) -> PipelineError:
    return PipelineError("bundle-archive-unsafe", detail)
