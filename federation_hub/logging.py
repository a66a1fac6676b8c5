"""What the hub writes about itself: one line an event on standard error, with keys from a list and nothing else.

A key that is not on the list is dropped, so a value somebody sent cannot reach the log by way of a careless call.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_KEYS = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "code",
        "exc_info",
        "exception",
        "method",
        "pid",
        "request_id",
        "rule",
        "seconds",
        "status",
        "study_id",
        "task_id",
        "silo_id",
        "round",
        "attempt",
        "count",
        "url",
        "version",
    }
)


def configure_logging(*, as_json: bool, verbose: bool) -> None:
    """Set up structlog for this process: JSON lines for a log collector, or lines for a person."""
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if as_json else _unchanged,
            _only_known_keys,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _only_known_keys(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return {key: value for key, value in event.items() if key in _KEYS}


def _unchanged(logger: WrappedLogger, method: str, event: EventDict) -> Any:
    return event
