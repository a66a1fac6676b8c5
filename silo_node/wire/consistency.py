"""What the parts of a benchmark definition must be to each other: every fault, each with its code and its key.

Pure, over the definition as a plain table, so that a text that is not yet a valid message can be judged as well.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

Table = Mapping[str, Any]


class Fault(NamedTuple):
    """Something wrong: the code it is refused with, where it stands, and what it is."""

    code: str
    path: tuple[str | int, ...]
    words: str


def inconsistencies(table: Table, metrics: Mapping[str, tuple[str, str]]) -> list[Fault]:
    """Return every fault between the parts of a definition, in the order of the file.

    ``metrics`` are the kit's own: name to task and direction. Parts of another form than declared are passed over.
    """
    return [*_labels(table), *_metrics(table, metrics), *_phases(table)]


def _labels(table: Table) -> Iterator[Fault]:
    labels = [label for label in _list(table, "labels") if isinstance(label, str)]
    for place, label in enumerate(labels):
        if label in labels[:place]:
            yield Fault("benchmark-invalid", ("labels", place), f"the label {label} stands there twice")
        if label == "all":
            yield Fault("benchmark-invalid", ("labels", place), "all names the mean over the labels, and is no label")


def _metrics(table: Table, known: Mapping[str, tuple[str, str]]) -> Iterator[Fault]:
    specs, task = _tables(table, "metrics"), table.get("task")
    of_task = sorted(name for name, (kind, _) in known.items() if kind == task)
    for place, spec in enumerate(specs):
        name = spec.get("name")
        if isinstance(name, str) and name not in (of_task or known):
            words = f"{name} is no metric of a {task}; there are {', '.join(of_task or sorted(known))}"
            yield Fault("metric-unknown", ("metrics", place, "name"), words)
        if any(name == earlier.get("name") for earlier in specs[:place]):
            yield Fault("benchmark-invalid", ("metrics", place, "name"), f"the metric {name} stands there twice")
        floor = _number(spec.get("floor"))
        upper = _number(spec.get("cap_mm")) or 100.0 if name == "hd95" else 1.0
        if floor is not None and not 0 <= floor <= upper:
            yield Fault("benchmark-invalid", ("metrics", place, "floor"), f"a floor of {name} lies from 0 to {upper:g}")
    primary = [place for place, spec in enumerate(specs) if spec.get("primary") is True]
    if specs and len(primary) != 1:
        path = ("metrics", primary[1], "primary") if primary else ("metrics",)
        yield Fault("benchmark-invalid", path, "exactly one metric must be primary: it ranks the models")


def _phases(table: Table) -> Iterator[Fault]:
    phases = _tables(table, "phases")
    twice = {name for name, count in Counter(str(phase.get("name")) for phase in phases).items() if count > 1}
    previous: datetime | None = None
    for place, phase in enumerate(phases):
        name, opens, closes = phase.get("name"), _moment(phase.get("opens")), _moment(phase.get("closes"))
        if name in twice:
            yield Fault("benchmark-invalid", ("phases", place, "name"), f"two phases are named {name}")
        if opens is not None and closes is not None and closes <= opens:
            yield Fault("phase-dates", ("phases", place, "closes"), f"{name} closes before it opens")
        if opens is not None and previous is not None and opens < previous:
            yield Fault("phase-dates", ("phases", place, "opens"), f"{name} opens before the phase above it")
        previous = opens or previous
        parent = phase.get("parent")
        if parent is not None and all(parent != earlier.get("name") for earlier in phases[:place]):
            yield Fault("phase-unknown", ("phases", place, "parent"), f"{parent} is no phase above {name}")


def _list(table: Table, key: str) -> list[Any]:
    found = table.get(key)
    return list(found) if isinstance(found, list | tuple) else []


def _tables(table: Table, key: str) -> list[Table]:
    return [entry if isinstance(entry, Mapping) else {} for entry in _list(table, key)]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo is not None else None
