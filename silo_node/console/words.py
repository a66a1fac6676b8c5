"""Codes, kinds and states in the plain words of the console's pages."""

import re
from datetime import UTC, datetime

from silo_node.web.formats import MISSING, seconds
from silo_node.wire.errors import PROBLEMS

_FEW_SECONDS = 10.0
ITEM_STATES = {
    "computed": "computed",
    "held": "waits for you",
    "released": "released, about to be sent",
    "sent": "sent, waiting for the hub's answer",
    "acknowledged": "arrived",
    "rejected": "kept here; the hub is about to be told a code",
    "declined": "kept here; the hub was told a code",
    "withdrawn": "no longer wanted by the hub",
}
TASK_STATES = {
    "claimed": "about to start",
    "running": "running",
    "answered": "done, its answer is in the outbox",
    "closed": "done",
}
COHORT_STATES = {
    "draft": "being built",
    "frozen": "frozen; the hub does not know of it",
    "registered": "registered at the hub",
    "retired": "retired; its prepared images are deleted",
}
SILO_STATES = {
    "invited": "invited",
    "pending": "waiting for the hub's admin to compare the fingerprint",
    "active": "active",
    "suspended": "suspended by the hub's admin",
    "revoked": "shut out for good",
}
_DEPARTURES = {
    "ClaimRequest": "asked for work",
    "Heartbeat": "told how far the work has come, in twentieths",
    "Decline": "said a coded no to a task",
    "EnrolmentRequest": "enrolled: a code and this site's public key",
    "UploadRequest": "announced a file: its digest and size",
    "bytes:update": "sent a part of a study's update",
    "bytes:model": "sent a part of a model",
    "torn-line-removed": "a line that a power cut tore was removed; nothing left",
    "cohort-registration": "registered a cohort: fingerprint and card",
    "association-decision": "answered a study's request",
    "estimate-block": "sent the results of an evaluation",
    "round-report": "sent the report of a study's round",
    "check-report": "sent the check of a submitted model",
    "statistics-report": "sent counts of patients",
    "key-rotation": "changed this site's signing key",
}


def departure(kind: str) -> str:
    """Return what left, as the egress log names it, in words; an unknown kind is shown as it is."""
    inner = re.fullmatch(r"Envelope\[application/vnd\.medsilo\.([a-z-]+)\+json\]", kind)
    name = inner.group(1) if inner else kind
    return _DEPARTURES.get(name, name)


def is_statement(kind: str) -> bool:
    """Tell whether a departure said something about this site's data, and was not just a sign of life."""
    return kind.startswith(("Envelope[", "bytes:"))


def reason(code: str | None) -> str:
    """Return a coded reason in words."""
    return "" if code is None else PROBLEMS[code].title if code in PROBLEMS else code.replace("-", " ")


def moment(text: str | None) -> datetime | None:
    """Read a time as the journal and the logs write it."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def ago(then: datetime | None, now: datetime) -> str:
    """Return how long something is past: ``just now``, ``5 min ago``, ``3 h ago``, ``2 days ago``."""
    if then is None:
        return MISSING
    past = (now - then).total_seconds()
    if past < 90:
        return "just now"
    if past < 5400:
        return f"{past / 60:.0f} min ago"
    return f"{past / 3600:.0f} h ago" if past < 172_800 else f"{past / 86_400:.0f} days ago"


def time_left(done: int, total: int, elapsed: float) -> str:
    """Return about how long work still takes, judged by how long it took so far; empty where nobody can know."""
    if done <= 0 or total <= done or elapsed <= 0:
        return ""
    left = elapsed / done * (total - done)
    return "a few seconds left" if left < _FEW_SECONDS else f"about {seconds(left)} left"
