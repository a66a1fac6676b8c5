"""Quiet hours: times of day, in the site's own time, in which no strangers' work is begun."""

from collections.abc import Iterable
from datetime import datetime, time


def is_quiet(hours: Iterable[str], now: datetime) -> bool:
    """Tell whether a local time lies in any of ``HH:MM-HH:MM``; a span may go over midnight, its end is not in it."""
    moment = now.time().replace(tzinfo=None)
    return any(_within(*_ends(span), moment) for span in hours)


def _ends(span: str) -> tuple[time, time]:
    begin, _, end = span.partition("-")
    return time.fromisoformat(begin), time.fromisoformat(end)


def _within(begin: time, end: time, moment: time) -> bool:
    if begin <= end:
        return begin <= moment < end
    return moment >= begin or moment < end
