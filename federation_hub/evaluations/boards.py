"""Telling the leaderboards that their inputs have changed."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.leaderboards.service import refresh
from federation_hub.services import Services


def refresh_boards(session: Session, services: Services, benchmarks: Iterable[Benchmark]) -> None:
    """Recompute the boards of these benchmark versions from what the session now holds."""
    session.flush()
    for benchmark in benchmarks:
        refresh(session, services, benchmark.name, benchmark.version)
