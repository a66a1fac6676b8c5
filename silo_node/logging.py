"""The node's own log: JSON lines on standard error, with fields of an allow-list only.

What is logged stays at the site, yet logs get copied into tickets. So a record carries a fixed text and a few declared
fields (ids the hub issued, codes, counts); arguments and tracebacks of foreign libraries are reduced to their kind.
Standard library only: a structured-logging library would cost a waiting node a tenth of its memory.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FIELDS = ("task", "study", "kind", "code", "state", "verdict", "item", "done", "total", "retry_seconds", "hub", "pid")
"""Every field a record may carry besides its time, level, logger and text."""


class JsonLines(logging.Formatter):
    """One record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.msg if record.name.startswith("silo_node") else "library message",
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            line |= fault(record.exc_info[1])
        return json.dumps(line, default=str)


def fault(error: BaseException) -> dict[str, str]:
    """Return an exception as its kind and where it happened: its text might quote what was refused."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
    return {"fault": type(error).__name__, "at": place}


def start_logging(level: str) -> None:
    """Send everything of this level and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("silo_node").setLevel(level.upper())
