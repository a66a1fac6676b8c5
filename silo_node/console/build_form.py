"""What the form for a new cohort says, as the query it means. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from pydantic import ValidationError

from silo_node.cohorts.query import CohortQuery
from silo_node.config import first_fault
from silo_node.console.builds import Build
from silo_node.deidentify.attributes import VOCABULARY
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import BadInput

RANGES = {"spacing_mm": "Distance of voxels, mm", "voxels": "Voxels along each side"}


class Form(Protocol):
    """A form's fields: one value by name, or all."""

    def get(self, key: str, default: str, /) -> str: ...
    def getlist(self, key: str, /) -> Sequence[str]: ...


def asked_build(
    form: Form,
    kept: Mapping[str, BenchmarkDefinition],
    collections: Mapping[str, int],
    *,
    labels: bool,
    person: str,
    at: datetime,
) -> Build:
    """Return the build a form asks for.

    Raises ``benchmark-unknown`` or ``query-invalid`` for what cannot be meant.
    """
    name, version, digest = _benchmark(form, kept)
    collection = form.get("collection", "") or None
    if collection is not None and collection not in collections:
        raise BadInput("query-invalid", f"nothing was taken in under the name {collection}")
    return Build(
        person=person,
        started=at,
        benchmark=name,
        version=version,
        definition=digest,
        collection=collection,
        query=asked_query(form),
        labels=labels,
    )


def asked_query(form: Form) -> CohortQuery:
    """Return the query a form means; raises ``query-invalid``."""
    document: dict[str, Any] = {
        "include": _criteria(form, "include"),
        "exclude": _criteria(form, "exclude"),
        "one_case_a_patient": form.get("one_case_a_patient", "") == "yes",
    }
    for name in RANGES:
        ends = {end: _number(form, f"{name}.{end}") for end in ("minimum", "maximum")}
        document[name] = ends if any(value is not None for value in ends.values()) else None
    try:
        return CohortQuery.model_validate(document)
    except ValidationError as problem:
        raise BadInput("query-invalid", first_fault(problem)) from None


def _benchmark(form: Form, kept: Mapping[str, BenchmarkDefinition]) -> tuple[str, int | None, str | None]:
    named = form.get("benchmark", "").strip()
    if named:
        return named, None, None
    chosen = form.get("definition", "")
    if chosen not in kept:
        raise BadInput("benchmark-unknown", "choose a benchmark, or write the name of another")
    return kept[chosen].name, kept[chosen].version, chosen


def _criteria(form: Form, kind: str) -> dict[str, tuple[str, ...]]:
    found = {name: tuple(form.getlist(f"{kind}.{name}")) for name in VOCABULARY}
    return {name: values for name, values in found.items() if values}


def _number(form: Form, name: str) -> float | None:
    text = form.get(name, "").strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise BadInput("query-invalid", f"{name} is a number") from None
