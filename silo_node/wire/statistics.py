"""Statistics of cohorts before a study is planned: one question about patients, and a silo's limited answer.

A question divides a cohort's patients by one declared attribute, or asks only how many there are. Everything else, a
mean or a quantile, follows from such counts, so there is one kind of answer to guard.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from silo_node.wire.base import Count, Fingerprint, Identifier, Message, Title
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.cohorts import CountBand
from silo_node.wire.purposes import Purpose

Attribute = Literal["age_band", "body_part", "field_strength", "maker", "sex", "tube_voltage", "view"]
"""The attributes a cohort's cases may have; what is not declared cannot be asked."""

Level = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]{0,19}$")]
"""A value of an attribute, from its closed vocabulary."""

QueryEpsilon = Annotated[float, Field(ge=0.01, le=10)]
OTHER = "none-told"
"""The level of patients whose case does not have the attribute."""


class Condition(Message):
    """Only patients whose attribute has one of these values."""

    attribute: Attribute
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=20)]


class StatisticsQuestion(Message):
    """How many patients there are under some conditions, by the values of an attribute or, without one, as a band."""

    attribute: Attribute | None = None
    where: Annotated[tuple[Condition, ...], Field(max_length=3)] = ()
    epsilon: QueryEpsilon | None = None
    """Noisy counts that cost each patient this much; without it, exact ones under the disclosure limits."""

    @model_validator(mode="after")
    def _one_kind(self) -> "StatisticsQuestion":
        if self.attribute is None and self.epsilon is not None:
            raise ValueError("a band has no noise")
        names = [condition.attribute for condition in self.where]
        if len(set(names)) != len(names) or self.attribute in names:
            raise ValueError("an attribute is named twice")
        return self


class StatisticsTask(Message):
    """One question to one silo about one cohort."""

    kind: Literal["statistics"] = "statistics"
    query_id: Identifier
    benchmark: BenchmarkReference
    cohort: Fingerprint
    question: StatisticsQuestion
    organisation: Title
    """Who asks, as the hub says."""

    purpose: Purpose = "research"


class Cell(Message):
    """The patients with one value; ``patients`` is None where the limits withhold it."""

    level: Level
    patients: Annotated[int, Field(ge=-(10**6), le=10**9)] | None
    """Rounded to five, or with noise; a noisy count may be negative."""


class StatisticsReport(Message):
    """A silo's signed answer."""

    task_id: Identifier
    query_id: Identifier
    silo_id: Identifier
    cohort: Fingerprint
    band: CountBand | None
    """Of a question without an attribute. The lowest band also stands for none, and for what may not be told."""

    cells: Annotated[tuple[Cell, ...], Field(max_length=40)]
    minimum: Count
    """Fewest patients behind an exact count."""


def level_value(attribute: Attribute, level: str) -> float | None:
    """Return the number a level stands for, the middle of an age band; None where levels have no order."""
    try:
        if attribute == "age_band":
            return float(level.removesuffix("+").split("-")[0]) + 2.5
        if attribute == "field_strength":
            return float(level.removesuffix("t"))
        return float(level.removesuffix("kv")) if attribute == "tube_voltage" else None
    except ValueError:
        return None
