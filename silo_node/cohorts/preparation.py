"""Handing raw cases to the preparation, and judging what comes back.

The preparation runs in the sandbox, so what it wrote is not believed: exactly the declared files, of the benchmark's
shape, each with the label its raw case had.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from silo_node.cohorts.files import link
from silo_node.cohorts.manifest import case_path
from silo_node.cohorts.selection import Chosen
from silo_node.cohorts.split import Split
from silo_node.deidentify.output_check import IMAGE_FILE, LABEL_FILE, RECORD_FILE
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import PROBLEMS, IntegrityError

REPORT_FILE = "prepared.json"
_BYTES = {"F32": 4, "I64": 8, "U8": 1}


class Prepare(Protocol):
    """Turns raw cases into prepared ones: ``raw/<case>/`` in, ``out/cases/<case>.safetensors`` out.

    Also writes ``out/prepared.json``: ``{"cases": [{"case", "label"}], "refused": [{"case", "code"}]}``. The node's
    runs ``pipelines.worker`` in the sandbox.
    """

    def __call__(self, raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
        """Prepare every case below ``raw``; raises a ``MedSiloError`` where the whole work fails."""


class _PreparedCase(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    case: str
    label: int | None


class _RefusedCase(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    case: str
    code: str


class _Report(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    cases: list[_PreparedCase]
    refused: list[_RefusedCase]


@dataclass(frozen=True)
class Prepared:
    """The digest of each prepared case by case id, and why others were refused."""

    digests: dict[str, str]
    refused: dict[str, str]


def stage(raw: Path, folder: Path, chosen: tuple[Chosen, ...], splits: Mapping[str, Split]) -> None:
    """Lay out the chosen cases for the preparation, and only those: it sees no other patient.

    Arrays are hard links; the record says the label as the benchmark's index.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    for case in chosen:
        source, target = raw / case.candidate.case_id, folder / case.candidate.case_id
        target.mkdir(mode=0o700)
        for name in (IMAGE_FILE, LABEL_FILE):
            if (source / name).exists():
                link(source / name, target / name)
        record = json.loads((source / RECORD_FILE).read_bytes())
        record |= {"label": case.label, "split": splits[case.candidate.patient]}
        (target / RECORD_FILE).write_bytes(canonical_bytes(record))


def judge_cached(
    folder: Path, cached: frozenset[str], chosen: tuple[Chosen, ...], definition: BenchmarkDefinition
) -> dict[str, str]:
    """Return the digests of cases that were prepared for another cohort; they are judged like new ones."""
    return {
        case.candidate.case_id: _judge_file(folder / case_path(case.candidate.case_id), case.label, definition)
        for case in chosen
        if case.candidate.case_id in cached
    }


def judge(out: Path, chosen: tuple[Chosen, ...], definition: BenchmarkDefinition) -> Prepared:
    """Return what was prepared; raises :class:`IntegrityError` ``output-invalid`` for anything undeclared."""
    report = _read_report(out)
    labels = {case.candidate.case_id: case.label for case in chosen}
    refused = {case.case: case.code for case in report.refused}
    prepared = {case.case: case.label for case in report.cases}
    complete = prepared.keys() | refused.keys() == labels.keys() and not prepared.keys() & refused.keys()
    once = len(prepared) == len(report.cases) and len(refused) == len(report.refused)
    _require(complete and once and all(code in PROBLEMS for code in refused.values()))
    _require({path.name for path in (out / "cases").iterdir()} == {f"{case}.safetensors" for case in prepared})
    digests = {case: _judge_file(out / case_path(case), labels[case], definition) for case in sorted(prepared)}
    return Prepared(digests, refused)


def _read_report(out: Path) -> _Report:
    try:
        return _Report.model_validate_json((out / REPORT_FILE).read_bytes())
    except (OSError, ValidationError):
        raise IntegrityError("output-invalid", "the preparation left no sound report") from None


def _judge_file(path: Path, label: int | None, definition: BenchmarkDefinition) -> str:
    _require(path.is_file() and not path.is_symlink())
    data = path.read_bytes()
    try:
        header, payload = _header(data)
        _judge_tensors(header, payload, label, definition)
    except (ValueError, KeyError, TypeError):
        raise IntegrityError("output-invalid", "a prepared case is not as declared") from None
    return digest_bytes(data)


def _judge_tensors(header: dict[str, Any], payload: bytes, label: int | None, definition: BenchmarkDefinition) -> None:
    shape = list(definition.input.shape)
    declared = {
        "image": ("F32", [definition.input.channels, *shape]),
        "label": ("U8", shape) if definition.task == "segmentation" else ("I64", [1]),
    }
    _require(set(declared) <= set(header) <= {*declared, "spacing_mm"})
    for name, (dtype, extents) in declared.items():
        _require((header[name]["dtype"], header[name]["shape"]) == (dtype, extents))
    _require(sum(_size(entry) for entry in header.values()) == len(payload))
    if definition.task == "classification":
        begin, end = header["label"]["data_offsets"]
        _require(int.from_bytes(payload[begin:end], "little") == label)


def _header(data: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + size])
    return header, data[8 + size :]


def _size(entry: dict[str, Any]) -> int:
    size = _BYTES[entry["dtype"]]
    for extent in entry["shape"]:
        size *= extent
    return size


def _require(condition: bool) -> None:
    if not condition:
        raise IntegrityError("output-invalid", "the preparation wrote something else than was declared")
