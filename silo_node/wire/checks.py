"""The check of a submitted model: run by a silo of the hub's operator on a public demo cohort, before any hospital."""

from typing import Annotated, Literal

from pydantic import Field

from silo_node.wire.base import Code, Count, Digest, Fingerprint, Identifier, Message, Seconds
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.models import ModelReference


class CheckTask(Message):
    """Run one model twice on a demo cohort. The answer is a check report."""

    kind: Literal["check"] = "check"
    benchmark: BenchmarkReference
    cohort: Fingerprint
    model: ModelReference


class CheckReport(Message):
    """What a check found; without a ``code`` the model may go to hospitals.

    It answers every case in the declared form and range, the same twice, within the limits of time and memory.
    """

    task_id: Identifier
    silo_id: Identifier
    benchmark: BenchmarkReference
    model: Digest
    code: Code | None
    cases: Count
    failed: Count
    seconds_mean: Seconds
    peak_memory_mb: Annotated[float, Field(ge=0, le=10**7)]
