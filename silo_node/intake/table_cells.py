"""A table's cells as text, from CSV, tab-separated values or Parquet: checked for shape, not for meaning."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from silo_node.wire.errors import BadInput

LARGEST_TABLE = 256 * 2**20
MOST_ROWS = 10_000_000
Cells = tuple[list[str], list[tuple[int, list[str]]]]
"""The header in lower case, and the rows with their numbers, the header being 1."""


def table_cells(path: Path) -> Cells:
    """Return a table's cells; raises ``file-missing``, ``table-unreadable``."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return _parquet_cells(path)
    return text_cells(table_text(path))


def table_text(path: Path) -> str:
    """Return a text table as text; raises ``file-missing``, ``table-unreadable``."""
    try:
        return _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput("table-unreadable", f"{path.name} is not UTF-8") from None


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise BadInput("table-unreadable", f"{path.name} is larger than {LARGEST_TABLE >> 20} MB")
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput("file-missing", f"no table {path}") from None
    except OSError as error:
        raise BadInput("table-unreadable", f"{path.name}: {error.strerror}") from None


def text_cells(text: str, separator: str = ",") -> Cells:
    """Return the cells of a text table, every row of the header's width; raises ``table-unreadable``."""
    try:
        reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        lines = [(number, cells) for number, cells in enumerate(reader, 1) if cells]
    except csv.Error:
        raise BadInput("table-unreadable", "a quotation mark or a separator is out of place") from None
    if not lines or "\0" in text:
        raise BadInput("table-unreadable", "it is empty, or not text")
    header = _header(lines[0][1])
    ragged = next((number for number, cells in lines[1:] if len(cells) != len(header)), None)
    if ragged is not None:
        raise BadInput("table-unreadable", f"row {ragged} has not one cell a column")
    return header, [(number, [cell.strip() for cell in cells]) for number, cells in lines[1:]]


def _parquet_cells(path: Path) -> Cells:
    data = _bytes(path)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise BadInput("table-unreadable", "Parquet needs pyarrow: pip install 'medsilo[parquet]'") from None
    try:
        with parquet.ParquetFile(io.BytesIO(data)) as file:
            if file.metadata.num_rows > MOST_ROWS:
                raise BadInput("table-unreadable", f"{path.name} has more than {MOST_ROWS} rows")
            frame = file.read().to_pandas(integer_object_nulls=True)
    except (pyarrow.ArrowException, OSError, ValueError):
        raise BadInput("table-unreadable", f"{path.name} is not a sound Parquet file") from None
    header = _header(map(str, frame.columns))
    rows = frame.itertuples(index=False, name=None)
    return header, [(number, [_cell(value) for value in row]) for number, row in enumerate(rows, 2)]


def _cell(value: object) -> str:
    """Return a value as a person would write it in CSV: nothing for a missing one, 3 for 3.0."""
    if value is None or value != value:  # what is not equal to itself is not a number
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _header(names: Iterable[str]) -> list[str]:
    header = [name.strip().lower() for name in names]
    if len(set(header)) != len(header):
        raise BadInput("table-unreadable", "two columns have the same name")
    return header
