"""The frozen cohorts this node holds, as tasks name them: by the keyed fingerprint the hub knows."""

from dataclasses import dataclass
from pathlib import Path

from silo_node.cohorts.manifest import Manifest, read_manifest
from silo_node.cohorts.registry import find_cohort, registered_cohort, verify_cohort
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.errors import BadInput


@dataclass(frozen=True)
class Holding:
    """A frozen cohort, where it lies, and what its manifest says."""

    cohort_id: str
    folder: Path
    manifest: Manifest


def find_holding(home: Home, fingerprint: str, benchmark: BenchmarkReference) -> Holding | None:
    """Return the cohort with this fingerprint, or None where there is none for this benchmark version.

    Raises :class:`IntegrityError` ``cohort-changed`` where its manifest cannot be read.
    """
    try:
        row = find_cohort(home, fingerprint)
    except BadInput:
        return None
    if row.state not in ("frozen", "registered") or row.definition != benchmark.digest:
        return None
    return Holding(row.cohort_id, home.cohort(row.cohort_id), read_manifest(home.cohort(row.cohort_id)))


def training_cases(home: Home, benchmark: BenchmarkReference) -> int | None:
    """Return how many training cases the registered cohort for a benchmark has, or None where there is no cohort."""
    row = registered_cohort(home, benchmark.name, benchmark.version)
    if row is None or row.definition != benchmark.digest:
        return None
    return read_manifest(home.cohort(row.cohort_id)).count("train")


def verify_holding(home: Home, holding: Holding) -> None:
    """Compare the cohort's files with what was frozen; raises :class:`IntegrityError` ``cohort-changed``."""
    verify_cohort(home, holding.cohort_id)
