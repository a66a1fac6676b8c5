"""The manifest: every case of a cohort with its patient, split, label, attributes and the digest of its file.

``cohorts/<id>/manifest.json`` is canonical JSON. Its keyed digest is the cohort's fingerprint, which therefore changes
with any byte of a file, any name and any pairing, and which nobody without the site key can recompute, so that small
known files cannot be guessed.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from silo_node.cohorts.split import Split
from silo_node.deidentify.pseudonyms import Pseudonyms
from silo_node.wire.base import Digest, Message
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_file, keyed_fingerprint
from silo_node.wire.errors import IntegrityError

MANIFEST_FILE = "manifest.json"
Pseudonym = Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]


class ManifestCase(Message):
    """One prepared case. It stays at the site: only the fingerprint of all of them is told."""

    case: Pseudonym
    patient: Pseudonym
    split: Split
    path: Annotated[str, Field(pattern=r"^cases/[0-9a-f]{16,64}\.safetensors$")]
    digest: Digest
    label: Annotated[int, Field(ge=0, le=255)] | None
    attributes: dict[str, str]


class Manifest(Message):
    """A cohort's manifest; ``cases`` are sorted by case."""

    format: Literal["cohort/1"] = "cohort/1"
    cohort_id: Annotated[str, Field(pattern=r"^coh-[0-9a-f]{16}$")]
    benchmark: BenchmarkReference
    cases: tuple[ManifestCase, ...]

    def fingerprint(self, pseudonyms: Pseudonyms) -> str:
        """Return the keyed digest the hub knows this cohort by."""
        key = pseudonyms.fingerprint_key(self.benchmark.name, self.benchmark.version)
        return keyed_fingerprint(key, canonical_bytes(self))

    def patients(self) -> set[str]:
        """Return the patients, by pseudonym."""
        return {case.patient for case in self.cases}

    def count(self, split: Split) -> int:
        """Return how many cases a split has."""
        return sum(case.split == split for case in self.cases)


def case_path(case_id: str) -> str:
    """Return where a prepared case lies in its cohort's folder."""
    return f"cases/{case_id}.safetensors"


def read_manifest(folder: Path) -> Manifest:
    """Read a cohort's manifest; raises ``cohort-changed`` where it is gone or no manifest any more."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError):
        raise IntegrityError("cohort-changed", "its manifest cannot be read") from None


def verify_folder(folder: Path, fingerprint: str, pseudonyms: Pseudonyms) -> Manifest:
    """Compare every file and pairing of a cohort with what was frozen, and return its manifest.

    Raises :class:`IntegrityError` ``cohort-changed`` for a changed, renamed, missing or added file or manifest.
    """
    manifest = read_manifest(folder)
    if manifest.fingerprint(pseudonyms) != fingerprint:
        raise IntegrityError("cohort-changed", "its manifest is not the one that was frozen")
    declared = {MANIFEST_FILE, *(case.path for case in manifest.cases)}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if declared != present:
        raise IntegrityError("cohort-changed", "a file was added, removed or renamed")
    for case in manifest.cases:
        if digest_file(folder / case.path) != case.digest:
            raise IntegrityError("cohort-changed", "a prepared case has other bytes")
    return manifest
