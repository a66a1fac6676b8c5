"""The node's own log: JSON lines on standard error, with fields of an allow-list only.

What is logged stays at the site, yet logs get copied into tickets. So a record carries a fixed text and a few declared
fields (ids the hub issued, codes, counts); arguments and tracebacks of foreign libraries are reduced to their kind.
Standard library only: a structured-logging library would cost a waiting node a tenth of its memory.
"""

import json
import logging
import os
import sys
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from silo_node.wire.errors import ConfigError

FIELDS = ("task", "study", "kind", "code", "state", "verdict", "item", "done", "total", "retry_seconds", "hub", "pid")
"""Every field a record may carry besides its time, level, logger and text."""


@dataclass(frozen=True)
class RotatedFile:
    """A log file that is put aside at a size; ``kept`` of those put aside are kept."""

    path: Path
    megabytes: int
    kept: int

    def handler(self) -> logging.Handler:
        """Open the file, readable by its owner alone; raises :class:`ConfigError` ``config-invalid``."""
        from logging.handlers import RotatingFileHandler

        class PrivateFile(RotatingFileHandler):
            def _open(self) -> TextIOWrapper:
                descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                return os.fdopen(descriptor, "a", encoding="utf-8")

        try:
            return PrivateFile(self.path, maxBytes=self.megabytes * 1_000_000, backupCount=self.kept)
        except OSError:
            raise ConfigError("config-invalid", f"log_file: {self.path} cannot be written") from None


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


def start_logging(level: str, rotated: RotatedFile | None = None) -> None:
    """Send everything of this level and above to standard error, and to a file that is kept small where one is set.

    Raises :class:`ConfigError` ``config-invalid`` where the file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if rotated is not None:
        handlers.append(rotated.handler())
    for handler in handlers:
        handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(logging.WARNING)
    logging.getLogger("silo_node").setLevel(level.upper())
