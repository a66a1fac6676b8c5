"""What anyone sees of a benchmark."""

from datetime import datetime

from silo_node.wire.base import Digest, Message, Name
from silo_node.wire.benchmarks import BenchmarkDefinition, Provenance, TaskKind


class BenchmarkView(Message):
    """One version: its definition, word for word, and the digest that names it."""

    definition: BenchmarkDefinition
    digest: Digest
    state: str
    created: datetime
    versions: tuple[int, ...]
    """Every version there is, oldest first."""

    board_awaited: bool
    """Its results have changed, and its leaderboard is being computed with them."""


class BenchmarkSummary(Message):
    """A line in the list of benchmarks."""

    name: Name
    version: int
    title: str
    task: TaskKind
    modality: str
    provenance: Provenance
    digest: Digest
    state: str


class BenchmarkList(Message):
    """The newest version of every benchmark."""

    benchmarks: tuple[BenchmarkSummary, ...]
    next: str | None = None
