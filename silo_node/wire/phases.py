"""When a benchmark takes submissions, how many, and how it keeps its test set from being learnt by asking."""

from typing import Annotated

from pydantic import Field

from silo_node.wire.base import Message, Name, Timestamp, Title

Submissions = Annotated[int, Field(ge=1, le=10_000)] | None


class SubmissionLimits(Message):
    """How many different models an organisation may enter: in a UTC day, in a UTC month, and in all."""

    a_day: Submissions = None
    a_month: Submissions = None
    in_all: Submissions = None
    """Over the whole phase, or over the whole benchmark version where it has no phases."""


class PhaseSpec(Message):
    """A time in which models are taken."""

    name: Name
    title: Title
    opens: Timestamp
    closes: Timestamp | None = None
    parent: Name | None = None
    """An earlier phase: only an organisation whose model was reported there, and met the floor, may enter this one."""

    submissions: SubmissionLimits = SubmissionLimits()
    ladder: Annotated[float, Field(gt=0, le=1)] | None = None
    """Step of the Ladder mechanism (Blum and Hardt 2015), in units of the primary metric's range.

    A model of an organisation is told of, on the board and to its owner, only where it is better than that
    organisation's best so far by more than this step.
    """
