"""Benchmark definitions as this node knows them: fetched once, kept by digest, believed only when the digest fits."""

from pathlib import Path

from pydantic import ValidationError

from silo_node.hub import Hub
from silo_node.state import Home, write_private
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_bytes, hex_part
from silo_node.wire.errors import BadInput, IntegrityError, WireError


def keep_benchmark(home: Home, definition: BenchmarkDefinition) -> BenchmarkReference:
    """Keep a definition in the state folder and return its reference."""
    data = canonical_bytes(definition)
    reference = BenchmarkReference(name=definition.name, version=definition.version, digest=digest_bytes(data))
    path = _path(home, reference.digest)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, data)
    return reference


def fetch_benchmark(home: Home, hub: Hub, name: str, version: int) -> BenchmarkDefinition:
    """Ask the hub for a benchmark version and keep it; raises ``benchmark-unknown`` or ``digest-mismatch``."""
    definition, _ = hub.benchmark(name, version)
    keep_benchmark(home, definition)
    return definition


def fetch_latest_benchmark(home: Home, hub: Hub, name: str) -> BenchmarkDefinition:
    """Ask the hub for the latest published version of a benchmark and keep it; raises ``benchmark-unknown``."""
    published = [line.version for line in hub.benchmarks() if (line.name, line.state) == (name, "published")]
    if not published:
        raise BadInput("benchmark-unknown", f"the hub has published no {name}")
    return fetch_benchmark(home, hub, name, max(published))


def kept_benchmarks(home: Home) -> list[tuple[str, BenchmarkDefinition]]:
    """Return the definitions that are kept here and whole, each with its digest: by name, the latest version first."""
    found = []
    for path in home.benchmarks.glob("*.json"):
        data = path.read_bytes()
        digest = digest_bytes(data)
        if path == _path(home, digest):
            found.append((digest, BenchmarkDefinition.model_validate_json(data)))
    return sorted(found, key=lambda kept: (kept[1].name, -kept[1].version))


def known_benchmark(home: Home, reference: BenchmarkReference, hub: Hub | None = None) -> BenchmarkDefinition:
    """Return the definition a reference names, asking the hub only where it is not kept here.

    Raises ``benchmark-unknown``, and :class:`IntegrityError` ``digest-mismatch`` for any definition but that one.
    """
    path = _path(home, reference.digest)
    if not path.exists():
        if hub is None:
            raise WireError("benchmark-unknown", f"{reference.name} {reference.version} was not fetched yet")
        fetch_benchmark(home, hub, reference.name, reference.version)
    try:
        data = path.read_bytes()
        if digest_bytes(data) == reference.digest:
            return BenchmarkDefinition.model_validate_json(data)
    except (FileNotFoundError, ValidationError):
        pass
    raise IntegrityError("digest-mismatch", f"the definition of {reference.name} {reference.version}")


def _path(home: Home, digest: str) -> Path:
    return home.benchmarks / f"{hex_part(digest)}.json"
