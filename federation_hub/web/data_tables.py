"""Tables of a page as data: the same numbers as CSV for spreadsheets and as JSON for programs, for anybody.

Every table that a page shows has an address beside it, ``<page>/<table>.csv`` and ``<page>/<table>.json``, so that a
static copy of the pages is whole as well.
"""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass

from flask import Response, request

from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import MedSiloError

Cell = str | float | int | bool | None
MEDIA_TYPES = {"csv": "text/csv", "json": "application/json"}
FOR_EVER = "public, max-age=31536000, immutable"
FOR_NOW = "no-cache"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class DataTable:
    """One table: the name in its address, what it says in a line, and its rows under named columns."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def csv(self) -> str:
        """Return the table as CSV with a header line (RFC 4180)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(map(spreadsheet_cell, self.columns))
        writer.writerows([spreadsheet_cell(value) for value in row] for row in self.rows)
        return text.getvalue()

    def json(self) -> str:
        """Return the table as a JSON object: its title, its columns in order, and one object a row."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return json.dumps({"table": self.name, "title": self.title, "columns": self.columns, "rows": rows}, indent=1)


def spreadsheet_cell(value: Cell) -> Cell:
    """Return a cell no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def answer(tables: Iterable[DataTable], name: str, form: str, *, caching: str = FOR_NOW) -> Response:
    """Answer with one of a page's tables as ``csv`` or ``json``; raises ``not-found`` where it has no such table."""
    table = next((table for table in tables if table.name == name), None)
    if table is None or form not in MEDIA_TYPES:
        raise MedSiloError("not-found")
    body = (table.csv() if form == "csv" else table.json()).encode()
    response = Response(body, mimetype=MEDIA_TYPES[form])
    response.headers["Cache-Control"] = caching
    response.set_etag(digest_bytes(body))
    return response.make_conditional(request)  # type: ignore[return-value]
