"""What people send and see about statistics of cohorts."""

from datetime import datetime

from silo_node.wire.base import Count, Identifier, Message, Name
from silo_node.wire.cohorts import CountBand
from silo_node.wire.purposes import Purpose
from silo_node.wire.statistics import StatisticsQuestion


class StatisticsRequest(Message):
    """A question about the cohorts of a benchmark's newest version."""

    benchmark: Name
    question: StatisticsQuestion
    purpose: Purpose = "research"


class PooledCell(Message):
    """One value of the attribute over all silos that told it."""

    level: str
    patients: int
    silos: Count


class StatisticsView(Message):
    """A question and what its answers come to. No silo's own numbers are shown."""

    query_id: Identifier
    benchmark: Name
    question: StatisticsQuestion
    asked: Count
    answered: Count
    declined: Count
    bands: dict[CountBand, Count]
    """How many silos lie in each band, of a question without an attribute."""

    cells: tuple[PooledCell, ...]
    """Empty until as many silos have answered as the benchmark asks for."""

    withheld: Count
    """Cells that silos withheld because they are small, or would give a small one back."""

    mean: float | None
    median: str | None
    quartiles: tuple[str, str] | None
    """Of the told cells of an attribute with an order, in its levels."""

    created: datetime
