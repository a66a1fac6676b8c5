"""Judging a benchmark definition before it is published: every fault at once, each with its line and its key."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks.toml_lines import key_lines, line_of
from silo_node.wire.benchmarks import METRICS, BenchmarkDefinition
from silo_node.wire.consistency import Fault, inconsistencies


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a definition's text. ``line`` is None where a key is missing from the whole file."""

    line: int | None
    key: str
    code: str
    words: str

    def __str__(self) -> str:
        place = f"line {self.line}, " if self.line is not None else ""
        return f"{place}{self.key}: {self.words}"


def judge_text(text: str) -> tuple[BenchmarkDefinition | None, list[Finding]]:
    """Return the definition of a TOML text, or None, and everything that is wrong with it, by line."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        line = int(place[1]) if place else None
        return None, [Finding(line, "the file", "benchmark-invalid", f"it is no TOML: {error}")]
    definition, faults = judge_table(table)
    lines = key_lines(text)
    findings = [Finding(line_of(lines, fault.path), dotted(fault.path), fault.code, fault.words) for fault in faults]
    return definition, sorted(findings, key=lambda finding: (finding.line or 0, finding.key))


def judge_table(table: Mapping[str, Any]) -> tuple[BenchmarkDefinition | None, list[Fault]]:
    """Return the definition of a table, or None, and every fault: of form, between the parts, of the preparation."""
    definition: BenchmarkDefinition | None = None
    faults = [*inconsistencies(table, METRICS), *_transforms(table)]
    try:
        definition = BenchmarkDefinition.model_validate_json(json.dumps(table, default=_as_json))
    except ValidationError as error:
        faults += _of_form(error, {fault.code for fault in faults})
    except (TypeError, ValueError):
        faults.append(Fault("benchmark-invalid", (), "it holds something JSON cannot carry"))
    return (None if faults else definition), faults


def judge_reference(folder: Path, definition: BenchmarkDefinition) -> list[Finding]:
    """Return what is wrong with the reference network beside a definition; nothing where there is none."""
    from pipelines.bundles.profile import read_profile, refuse_incompatible
    from pipelines.errors import PipelineError
    from pipelines.question import read_question

    path = folder / "reference" / "bundle.json"
    if not path.is_file():
        return []
    try:
        profile = read_profile(json.loads(path.read_text(encoding="utf-8")))
        refuse_incompatible(profile, read_question(definition.model_dump(mode="json")))
    except PipelineError as error:
        return [Finding(None, "reference/bundle.json", error.code, error.detail or "it does not fit the definition")]
    except ValueError:
        return [Finding(None, "reference/bundle.json", "benchmark-invalid", "it is no JSON")]
    return []


def dotted(path: tuple[str | int, ...]) -> str:
    """Return a key as people write it: ``metrics[1].name``."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return words.removeprefix(".") or "the file"


def _of_form(error: ValidationError, told: set[str]) -> Iterator[Fault]:
    known = _names(BenchmarkDefinition.model_json_schema())
    for entry in error.errors(include_input=False, include_url=False):
        path, kind = entry["loc"], entry["type"]
        if kind in told:
            continue
        words = str(entry["msg"])
        if kind == "extra_forbidden":
            near = difflib.get_close_matches(str(path[-1]), known, n=1)
            words = "there is no such key" + (f"; did you mean {near[0]}?" if near else "")
        yield Fault("benchmark-invalid", path, words)


def _names(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        return set(schema.get("properties", {})).union(*(_names(value) for value in schema.values()))
    return set().union(*(_names(value) for value in schema)) if isinstance(schema, list) else set()


def _transforms(table: Mapping[str, Any]) -> Iterator[Fault]:
    """Check each step by itself, so that the second is judged where the first is wrong."""
    from pipelines.bundles import check_transforms
    from pipelines.errors import PipelineError
    from pipelines.question import TransformSpec

    steps = table.get("preparation", [])
    for place, step in enumerate(steps if isinstance(steps, list) else []):
        try:
            check_transforms([TransformSpec.model_validate(step)])
        except ValidationError:
            continue
        except PipelineError as error:
            yield Fault(error.code, ("preparation", place), error.detail or "no site could prepare its cases so")


def _as_json(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(type(value).__name__)
