"""BLAKE3 addresses of bytes and files.

BLAKE3 hashes 2.8 GB/s on a core without SHA instructions where SHA-256 reaches 0.2 GB/s; ``blake3`` is a digest
algorithm registered for OCI content addressing.
"""

from pathlib import Path
from typing import Protocol

from blake3 import blake3

_PREFIX = "blake3:"
_KEYED_PREFIX = "keyed-blake3:"


class Hasher(Protocol):
    """The part of a BLAKE3 hasher that streaming code needs."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...

    def hexdigest(self) -> str: ...


def new_hasher() -> Hasher:
    """Return a hasher to feed block by block; close it with :func:`finish`."""
    return blake3()


def finish(hasher: Hasher) -> str:
    """Return the address of all the bytes a hasher was fed."""
    return _PREFIX + hasher.hexdigest()


def digest_bytes(data: bytes | bytearray | memoryview) -> str:
    """Return the address of these bytes."""
    return _PREFIX + blake3(data).hexdigest()


def digest_file(path: Path) -> str:
    """Return the address of a file's bytes, read through a memory map."""
    hasher = blake3()
    hasher.update_mmap(path)
    return _PREFIX + hasher.hexdigest()


def keyed_fingerprint(key: bytes, data: bytes) -> str:
    """Return the keyed digest of some bytes; ``key`` is 32 secret bytes that never leave the site."""
    return _KEYED_PREFIX + blake3(data, key=key).hexdigest()


def hex_part(address: str) -> str:
    """Return the hexadecimal digits of an address, fit for a file name."""
    return address.rpartition(":")[2]
