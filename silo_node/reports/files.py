"""Where reports lie: ``reports/<name>.html`` and ``.json``, each readable by its owner alone."""

import json
from pathlib import Path
from typing import Any

from silo_node.state import Home, write_private


def write_report(home: Home, name: str, html: str, document: dict[str, Any]) -> Path:
    """Write a report's page and its facts; return the page's path."""
    folder = home.reports
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / f"{name}.json", (json.dumps(document, indent=2) + "\n").encode())
    write_private(folder / f"{name}.html", html.encode())
    return folder / f"{name}.html"


def read_report(home: Home, name: str) -> dict[str, Any] | None:
    """Return a report's facts, or None where there is no report."""
    try:
        found: dict[str, Any] = json.loads((home.reports / f"{name}.json").read_bytes())
    except FileNotFoundError:
        return None
    return found


def drop_report(home: Home, name: str) -> None:
    """Remove a report, its pictures with it."""
    for suffix in (".html", ".json"):
        (home.reports / f"{name}{suffix}").unlink(missing_ok=True)
