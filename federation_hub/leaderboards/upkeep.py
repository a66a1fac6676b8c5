"""Keeping boards up to date, with the database's write lock held only to count a change and to install a snapshot.

    a change -> ``outdate`` in its transaction -> commit -> compute from a consistent read -> install, if still newer

Whoever changed a board computes it before his request is answered. Where somebody is computing it already, it is left
to him: he looks again before he stops. What a killed process left undone the ``sweeper`` finds, also at a start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM
from federation_hub.accounts.audit import record
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.leaderboards.inputs import manifest
from federation_hub.leaderboards.revisions import outdated, outdated_in, revision
from federation_hub.leaderboards.service import WITHOUT_BOARD, gather
from federation_hub.leaderboards.snapshots import snapshot_bytes
from federation_hub.leaderboards.tables import BoardRevision, Snapshot
from federation_hub.services import Services
from silo_node.wire.digests import digest_bytes

_TURNS = 2
"""So often one request computes a board that keeps changing; after that the sweeper does."""

_PATIENCE = 0.3
"""Seconds to wait for somebody who is computing: a small board is done by then, and many who wait want threads."""

_log = structlog.get_logger("federation_hub")


@dataclass(frozen=True, slots=True)
class Computed:
    """A board computed from what the database held after change number ``revision``."""

    benchmark_id: str
    revision: int
    body: bytes
    manifest: dict[str, Any]
    results: bool
    """It is made of any result at all."""


@contextmanager
def changing_boards(services: Services) -> Iterator[Session]:
    """Yield a writing session, and once it is committed bring up to date the boards it has outdated."""
    with services.database.session() as session:
        yield session
        changed = outdated_in(session)
    for benchmark_id in changed:
        _bring_or_leave(services, benchmark_id)


def catch_up(services: Services) -> None:
    """Bring up to date every board that is not."""
    with services.database.reading() as session:
        found = session.scalars(outdated()).all()
    for benchmark_id in found:
        _bring_or_leave(services, benchmark_id)


def bring_up_to_date(services: Services, benchmark_id: str) -> None:
    """Compute and install a board until nothing newer is found, unless somebody else is at it.

    Who lets go looks again afterwards, so a change whose author found the board taken is never missed.
    """
    for _ in range(_TURNS):
        with services.database.alone(f"board {benchmark_id}", patience=_PATIENCE) as mine:
            found = compute(services, benchmark_id) if mine else None
            if found is None:
                return
            with services.database.session() as session:
                install(session, found)


def compute(services: Services, benchmark_id: str) -> Computed | None:
    """Compute a board that is out of date, outside any transaction; None for one that is up to date."""
    with services.database.reading() as session:
        number = revision(session, benchmark_id)
        if number is None:
            return None
        inputs = gather(session, session.get_one(Benchmark, benchmark_id))
    return Computed(benchmark_id, number, snapshot_bytes(inputs), manifest(inputs), bool(inputs.blocks))


def install(session: Session, found: Computed) -> bool:
    """Let a computed board stand; False where a newer one was computed meanwhile, which stays.

    No snapshot is made where one of the same bytes stands, nor before the first result. Inputs that were there before
    (a block withdrawn again) make the earlier snapshot stand anew.
    """
    board = session.get_one(BoardRevision, found.benchmark_id, with_for_update=True)
    if board.computed >= found.revision:
        return False
    board.computed = found.revision
    standing = session.scalar(
        select(Snapshot)
        .where(Snapshot.benchmark_id == found.benchmark_id, Snapshot.superseded_by.is_(None))
        .options(*WITHOUT_BOARD)
    )
    digest = digest_bytes(found.body)
    if (found.results or standing is not None) and (standing is None or standing.digest != digest):
        _stand(session, found, digest, standing)
    return True


def _stand(session: Session, found: Computed, digest: str, standing: Snapshot | None) -> None:
    earlier = session.get(Snapshot, digest)
    if standing is not None:
        standing.superseded_by = digest
    if earlier is not None:
        earlier.superseded_by = None
    else:
        session.add(Snapshot(digest=digest, benchmark_id=found.benchmark_id, body=found.body, manifest=found.manifest))
    session.flush()
    record(session, SYSTEM, "leaderboard.stand", digest, None, "standing")


def _bring_or_leave(services: Services, benchmark_id: str) -> None:
    try:
        bring_up_to_date(services, benchmark_id)
    except Exception:
        # What was asked for is done and must be answered so, whatever the board meets; the sweeper tries it again.
        _log.warning("board-failed", benchmark=benchmark_id, exc_info=True)
