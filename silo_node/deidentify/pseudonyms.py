"""Keyed pseudonyms: the same patient gets the same name at this site, and nobody without the site's key can tell who.

A plain hash of a patient number is no secret, since all numbers can be tried. Every value here is HMAC-SHA256 under
``private/site.key``, 32 random bytes that never leave the site, with a domain for each use, so that a case's and a
patient's pseudonym of the same text have nothing in common (DICOM PS3.15 Annex E, retain longitudinal information).
"""

import hashlib
import hmac
import os
import stat
from pathlib import Path

from silo_node.wire.errors import ConfigError

KEY_BYTES = 32
PSEUDONYM_DIGITS = 32
"""128 bits: two of a billion patients share a pseudonym with a probability below 10^-20."""

FURTHEST_SHIFT = 365
"""Days by which a patient's dates move back at most. The bias of 56 bits modulo 365 is below 10^-14."""


class Pseudonyms:
    """Everything that is derived from one site key. Source values go in; only hexadecimal digits come out."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigError("config-invalid", "the site key must be 32 bytes")
        self._key = key

    def patient(self, source_id: str) -> str:
        """Return a patient's pseudonym. The table's and the DICOM header's id of one patient give the same."""
        return self._hex("patient", source_id.strip())

    def case(self, *identity: str) -> str:
        """Return the id of a case from what identifies it at its source, such as its SOP Instance UID."""
        return self._hex("case", *identity)

    def locator(self, *parts: str) -> str:
        """Return what the catalogue calls a place in a source, so that it holds no file name."""
        return self._hex("locator", *parts)

    def seal(self, purpose: str, data: bytes) -> str:
        """Return a keyed digest that tells whether some bytes are the same as before, and nothing else."""
        return self._mac("seal", purpose.encode(), data).hex()

    def draw(self, benchmark: str, patient: str) -> float:
        """Return a number in [0, 1) for a patient, by which a benchmark's split is decided.

        It depends on the benchmark's name and not on its version: a patient a model may have been trained on stays a
        training patient in the next version.
        """
        return int.from_bytes(self._mac("split", benchmark.encode(), patient.encode())[:7]) / 2**56

    def fingerprint_key(self, benchmark: str, version: int) -> bytes:
        """Return the 32-byte key of a benchmark's cohort fingerprints: the same cases show as unrelated in two."""
        return self._mac("fingerprint", benchmark.encode(), str(version).encode())

    def project(self, name: str) -> "Pseudonyms":
        """Return the pseudonyms of one project: nobody can join its patients with those of another.

        What leaves the node as files, such as an export, is named by these. Cases inside the node are named by the
        site's own, so that one patient is one patient in every cohort.
        """
        return Pseudonyms(self._mac("project", name.encode()))

    def uid(self, source_uid: str) -> str:
        """Return the UID that stands for one of the source's: ``2.25.`` and 128 bits (PS3.5 annex B.2)."""
        return f"2.25.{int.from_bytes(self._mac('uid', source_uid.strip().encode())[:16])}"

    def date_shift(self, source_id: str) -> int:
        """Return by how many days all dates of a patient move: -365 to -1, so that intervals stay what they were."""
        drawn = int.from_bytes(self._mac("date", source_id.strip().encode("utf-8", "surrogateescape"))[:7])
        return drawn % FURTHEST_SHIFT - FURTHEST_SHIFT

    def _hex(self, domain: str, *parts: str) -> str:
        spelled = (part.encode("utf-8", "surrogateescape") for part in parts)
        return self._mac(domain, *spelled).hex()[:PSEUDONYM_DIGITS]

    def _mac(self, domain: str, *parts: bytes) -> bytes:
        message = hmac.new(self._key, f"medsilo/{domain}/1".encode(), hashlib.sha256)
        for part in parts:
            message.update(len(part).to_bytes(8) + part)
        return message.digest()


def load_site_key(path: Path) -> bytes:
    """Read the site key; raises ``config-missing`` without one, ``config-invalid`` for one that others may read."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise ConfigError("config-missing", "private/site.key is not there; take in some images first") from None
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            raise ConfigError("config-invalid", "private/site.key may be read by others; run chmod 600 on it")
        key = file.read()
    if len(key) != KEY_BYTES:
        raise ConfigError("config-invalid", "private/site.key is not 32 bytes; restore it from your backup")
    return key


def load_or_create_site_key(path: Path) -> bytes:
    """Read the site key, made on first use. Two processes that make it at once end up with the same one."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(path)
    return load_site_key(path)


def _create(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)
