"""The table beside the images: which label, patient and split belong to which path.

One UTF-8 CSV file with a header line, or a Parquet file. Columns: ``path`` (a file or folder below the images' folder;
``file.npz#3`` for one image of an archive), ``label`` or ``label_path``, ``patient``, and optionally ``split``,
``sex``, ``age``, ``maker`` and ``modality``. The whole table is checked before the first image is read. What is refused
is told by row number and column, never by value.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from silo_node.deidentify.identifiers import Identifiers, dates, numbers, texts
from silo_node.intake.source import Annotation
from silo_node.intake.table_cells import table_cells
from silo_node.wire.errors import BadInput

COLUMNS = ("path", "label", "label_path", "patient", "split", "sex", "age", "maker", "modality")
SPLITS: dict[str, Literal["train", "validation", "test"] | None] = {
    "": None,
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}
LABEL = re.compile(r"^(\d{1,2}|[a-z][a-z0-9_ -]{0,39})$")


def read_table(path: Path, required: Iterable[str] = ("path",)) -> dict[str, Annotation]:
    """Return what a table says by path, in the table's order.

    Raises :class:`BadInput`: ``file-missing``, ``table-unreadable``, ``table-column-missing``, ``table-duplicate-key``,
    ``label-unknown`` for a label no benchmark can have, ``split-unknown``.
    """
    header, rows = table_cells(path)
    missing = [column for column in required if column not in header]
    if missing:
        raise BadInput("table-column-missing", f"{path.name} has no column {missing[0]}")
    found: dict[str, Annotation] = {}
    for number, cells in rows:
        row = dict(zip(header, cells, strict=True))
        key = _relative(row["path"], number, "path")
        if key in found:
            raise BadInput("table-duplicate-key", f"row {number} names a path that an earlier row names")
        found[key] = _annotation(row, number, tuple(required))
    return found


def check_paths(table: Mapping[str, Annotation], folder: Path) -> None:
    """Raise ``label-without-case`` for a row whose image is not there, ``case-without-label`` for a label map's."""
    for path, annotation in table.items():
        if not (folder / path.partition("#")[0]).exists():
            raise BadInput("label-without-case", f"row {annotation.row}")
        if annotation.label_path is not None and not (folder / annotation.label_path.partition("#")[0]).is_file():
            raise BadInput("case-without-label", f"row {annotation.row}: the file in column label_path is not there")


def annotation_bytes(annotation: Annotation | None) -> bytes:
    """Return bytes that differ whenever two annotations say something different."""
    said = None if annotation is None else dataclasses.astuple(dataclasses.replace(annotation, row=0))
    return json.dumps(said).encode()


def _annotation(row: Mapping[str, str], number: int, required: tuple[str, ...]) -> Annotation:
    empty = next((column for column in required if not row[column]), None)
    if empty is not None:
        raise BadInput("table-unreadable", f"row {number} has nothing in column {empty}")
    if row.get("split", "").lower() not in SPLITS:
        raise BadInput("split-unknown", f"row {number}")
    label = row.get("label", "").lower()
    if label and not LABEL.match(label):
        raise BadInput("label-unknown", f"row {number}")
    label_path = row.get("label_path") or None
    return Annotation(
        row=number,
        label=label or None,
        label_path=label_path and _relative(label_path, number, "label_path"),
        split=SPLITS[row.get("split", "").lower()],
        undeclared=tuple(value for column, value in row.items() if column not in COLUMNS and value),
        **{column: row.get(column) or None for column in ("patient", "sex", "age", "maker", "modality")},
    )


def _relative(text: str, number: int, column: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts:
        raise BadInput("table-unreadable", f"row {number}: column {column} must be a path below the folder")
    return path.as_posix()


def annotation_identifiers(annotation: Annotation | None) -> Identifiers:
    """Return what a row may tell about a patient: the patient's id, dates, and every cell that is not declared."""
    if annotation is None:
        return Identifiers()
    certain = numbers([annotation.patient or ""]) | dates(annotation.undeclared)
    return Identifiers(certain, texts([*annotation.undeclared, annotation.label_path or ""]))
