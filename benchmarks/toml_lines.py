"""On which line of a TOML text each key stands, so that a fault can be found by whoever wrote it.

The standard library's parser keeps no positions. Headers are read here; every statement below one is handed to that
parser line by line until it is whole, so that strings and arrays over several lines need no rules of their own.
"""

import re
import tomllib
from collections import Counter
from typing import Any

Path = tuple[str | int, ...]
_HEADER = re.compile(r"^\s*(\[{1,2})([^\[\]]+)\]{1,2}\s*(#.*)?$")


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every table and key of a text the parser accepts."""
    lines: dict[Path, int] = {}
    seen: Counter[Path] = Counter()
    table: Path = ()
    statement, begun = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = None if statement else _HEADER.match(line)
        if header is not None:
            table = _opened(header, seen)
            lines.setdefault(table, number)
            continue
        begun = begun if statement else number
        statement += line + "\n"
        try:
            found = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        for path in _paths(found):
            lines.setdefault((*table, *path), begun)
        statement = ""
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of a key, or of the nearest table around it; None for one that stands nowhere."""
    return next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), None)


def _opened(header: "re.Match[str]", seen: "Counter[Path]") -> Path:
    name: Path = tuple(part.strip().strip("\"'") for part in header.group(2).split("."))
    if header.group(1) == "[":
        return name
    seen[name] += 1
    return (*name, seen[name] - 1)


def _paths(value: Any, path: Path = ()) -> list[Path]:
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [found for key, one in inner for found in [(*path, key), *_paths(one, (*path, key))]]
