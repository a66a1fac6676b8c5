"""Labels that come after the images: a table that names patients, series, instances or accession numbers.

What a PACS sends has no labels beside it. The table is read where the cohort is built and joined by keyed hash, so that
nothing of it but the label goes further.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from silo_node.cohorts.selection import Candidate
from silo_node.deidentify.pseudonyms import Pseudonyms
from silo_node.intake.objects.index import ObjectIndex
from silo_node.intake.table import LABEL, SPLITS
from silo_node.state import Home
from silo_node.wire.errors import BadInput

KEYS = ("instance", "series", "accession", "patient")
"""Columns a row may be joined by, the narrowest first."""


def label_candidates(
    candidates: Sequence[Candidate], table: Path, home: Home, pseudonyms: Pseudonyms
) -> list[Candidate]:
    """Return the candidates with the labels and splits a table gives them; others keep what they have.

    Raises :class:`BadInput`: ``file-missing``, ``table-unreadable``, ``table-column-missing``, ``table-duplicate-key``,
    ``label-unknown``, ``split-unknown``, and ``label-without-case`` for a row that fits no case.
    """
    key, rows = _rows(table)
    cases = _cases_by_key(key, candidates, home, pseudonyms)
    found: dict[str, Mapping[str, str]] = {}
    for number, row in rows:
        fitting = cases.get(_key_of(key, row[key], pseudonyms), ())
        if not fitting:
            raise BadInput("label-without-case", f"row {number}")
        found.update(dict.fromkeys(fitting, row))
    return [_labelled(case, found.get(case.case_id)) for case in candidates]


def _rows(table: Path) -> tuple[str, list[tuple[int, dict[str, str]]]]:
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadInput("file-missing", f"no table {table}") from None
    except UnicodeDecodeError:
        raise BadInput("table-unreadable", f"{table.name} is not UTF-8") from None
    lines = list(csv.DictReader(io.StringIO(text)))
    columns = [name.strip().lower() for name in (lines[0] if lines else {}) if name is not None]
    key = next((name for name in KEYS if name in columns), None)
    if key is None or "label" not in columns:
        raise BadInput("table-column-missing", f"{table.name} needs label and one of {', '.join(KEYS)}")
    rows = [(number, _cells(line, number)) for number, line in enumerate(lines, 2)]
    if len({row[key] for _, row in rows}) != len(rows):
        raise BadInput("table-duplicate-key", f"{table.name} names one {key} twice")
    return key, rows


def _cells(line: Mapping[str | None, object], number: int) -> dict[str, str]:
    if None in line or None in line.values():
        raise BadInput("table-unreadable", f"row {number} has not one cell a column")
    row = {str(name).strip().lower(): str(value).strip() for name, value in line.items()}
    if not LABEL.match(row["label"].lower()):
        raise BadInput("label-unknown", f"row {number}")
    if row.get("split", "").lower() not in SPLITS:
        raise BadInput("split-unknown", f"row {number}")
    return row


def _cases_by_key(
    key: str, candidates: Sequence[Candidate], home: Home, pseudonyms: Pseudonyms
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if key != "accession":
        for case in candidates:
            found.setdefault(case.patient if key == "patient" else case.case_id, []).append(case.case_id)
        return found
    known = {case.case_id for case in candidates}
    with ObjectIndex(home) as index:
        for accession, instance, series in index.accessions():
            ids = {pseudonyms.case("dicom", instance), pseudonyms.case("series", series)} & known
            found.setdefault(accession, []).extend(ids - set(found.get(accession, ())))
    return found


def _key_of(key: str, value: str, pseudonyms: Pseudonyms) -> str:
    spelled = {
        "patient": lambda: pseudonyms.patient(value),
        "series": lambda: pseudonyms.case("series", value),
        "instance": lambda: pseudonyms.case("dicom", value),
    }
    return spelled[key]() if key in spelled else value


def _labelled(case: Candidate, row: Mapping[str, str] | None) -> Candidate:
    if row is None:
        return case
    return replace(case, label=row["label"].lower(), split=SPLITS[row.get("split", "").lower()] or case.split)
