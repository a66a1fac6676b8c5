"""Checking a leaderboard: from its published inputs, with the statistics installed here, to the very same bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation_hub.leaderboards.inputs import read_inputs
from federation_hub.leaderboards.snapshots import snapshot_bytes
from silo_node.wire.canonical import parse_object
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import BadInput, IntegrityError


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What came of computing a snapshot anew. Where it is not the ``same``, ``differences`` names the parts."""

    digest: str
    blocks: int
    same: bool
    published_with: dict[str, str]
    differences: tuple[str, ...]


def recompute(body: bytes, inputs: bytes, *, digest: str) -> Recomputed:
    """Compute a snapshot anew and compare it byte for byte.

    Raises ``IntegrityError`` where ``body`` is not what ``digest`` names, ``BadInput`` for inputs of something else.
    """
    if digest_bytes(body) != digest:
        raise IntegrityError("digest-mismatch", "the snapshot's bytes are not what its digest names")
    try:
        found = read_inputs(inputs)
    except ValueError as error:
        raise BadInput("malformed-message", str(error)) from error
    again = snapshot_bytes(found)
    anew, published = parse_object(again), parse_object(body)
    differences = tuple(key for key in sorted(anew.keys() | published.keys()) if anew.get(key) != published.get(key))
    return Recomputed(digest, len(found.blocks), again == body, dict(published["code"]), differences)


def from_folder(folder: Path, digest: str) -> tuple[bytes, bytes]:
    """Return a snapshot and its inputs from a site that ``federation-hub export-static`` wrote."""
    name = digest.replace(":", "-")
    paths = (folder / "snapshots" / f"{name}.json", folder / "snapshots" / f"{name}.inputs.json")
    try:
        return paths[0].read_bytes(), paths[1].read_bytes()
    except OSError as error:
        raise BadInput("file-missing", f"{folder} holds no snapshot {digest} with its inputs") from error


def versions_here() -> dict[str, Any]:
    """Return the versions that a snapshot computed here would name."""
    import numpy
    import scipy

    from benchmarks.statistics import VERSION

    return {"statistics": VERSION, "numpy": numpy.__version__, "scipy": scipy.__version__}
