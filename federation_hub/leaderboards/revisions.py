"""Which boards are out of date: a count of changes to what a board is made of, and up to which one it was computed.

Computing a large board takes seconds, so a transaction that changes one only counts the change (``outdate``); the board
is computed after it (``upkeep``). The count is in the database: what a killed process left undone is found there.
"""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.leaderboards.tables import BoardRevision

_OUTDATED = "medsilo.outdated_boards"


def outdate(session: Session, benchmarks: Iterable[Benchmark]) -> None:
    """Count a change to the boards of these benchmark versions, in the transaction that makes it."""
    # In one order everywhere: two transactions that change the same boards must not wait for each other.
    changed = sorted({benchmark.id for benchmark in benchmarks})
    session.flush()
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for benchmark_id in changed:
        first = insert(BoardRevision).values(benchmark_id=benchmark_id, changed=1, computed=0)
        again = {"changed": BoardRevision.changed + 1}
        session.execute(first.on_conflict_do_update(index_elements=["benchmark_id"], set_=again))
    session.info.setdefault(_OUTDATED, set()).update(changed)


def outdated_in(session: Session) -> tuple[str, ...]:
    """Return the benchmark versions whose boards this very session has outdated."""
    return tuple(sorted(session.info.get(_OUTDATED, ())))


def outdated() -> Select[str]:
    """Select the benchmark versions whose boards are out of date."""
    return select(BoardRevision.benchmark_id).where(_behind()).order_by(BoardRevision.benchmark_id)


def revision(session: Session, benchmark_id: str) -> int | None:
    """Return the number of the last change to a board that is out of date, or None for one that is not."""
    wanted = select(BoardRevision.changed).where(BoardRevision.benchmark_id == benchmark_id, _behind())
    return session.scalar(wanted)


def _behind() -> ColumnElement[bool]:
    return BoardRevision.computed < BoardRevision.changed
