"""The first page: is all well, what is asked of you, what is running, who this site is."""

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, render_template

from silo_node.catalogue import Catalogue
from silo_node.console.desk import desk
from silo_node.console.pages.approvals import tell
from silo_node.console.pages.work import health_line, jobs
from silo_node.console.words import is_statement, moment
from silo_node.doctor import last_report
from silo_node.identity import load_enrolment
from silo_node.outbox.box import Outbox
from silo_node.outbox.egress_log import EgressLog, Entry
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def shown() -> str:
    """Show the three answers, and what needs a decision."""
    return render_template("home.html", **view())


@blueprint.get("/home/live")
def live() -> str:
    """Return the part of the page that changes by itself."""
    return render_template("home_live.html", **view())


def view() -> dict[str, Any]:
    """Gather the first page."""
    running = [found for found in jobs() if found.running]
    return {
        "health": health_line(),
        "report": last_report(desk().home),
        "waiting": _waiting(),
        "running": running,
        "left": _left(),
        "place": _place(),
        "cohorts": _cohorts(),
    }


def _waiting() -> list[dict[str, object]]:
    with desk().journal() as journal:
        items = Outbox(journal).items("held")
        told = [(item, tell(journal, item)) for item in items]
    return [
        {"id": item.item_id, "title": words.title, "kind": words.kind, "since": moment(item.changed)}
        for item, words in told
    ]


def _left() -> dict[str, object]:
    """Count what left in the last day, and name the last thing that said something about this site's data."""
    since = datetime.now(UTC) - timedelta(days=1)
    try:
        entries: deque[Entry] = deque(EgressLog(desk().home.egress_log).entries(), maxlen=20_000)
    except MedSiloError:
        return {"requests": None, "statements": 0, "last": None, "at": None}
    recent = [entry for entry in entries if datetime.fromisoformat(entry.departure.time) >= since]
    last = next((entry for entry in reversed(entries) if is_statement(entry.departure.kind)), None)
    return {
        "requests": len(recent),
        "statements": sum(is_statement(entry.departure.kind) for entry in recent),
        "last": last.departure.kind if last else None,
        "at": moment(last.departure.time) if last else None,
    }


def _place() -> dict[str, str] | None:
    try:
        enrolment = load_enrolment(desk().home)
    except MedSiloError:
        return None
    return {
        "name": enrolment.silo_name,
        "id": enrolment.silo_id,
        "hub": desk().config.hub_url or enrolment.hub_url,
        "fingerprint": enrolment.fingerprint,
    }


def _cohorts() -> dict[str, int]:
    if not desk().home.catalogue.exists():
        return {"cohorts": 0, "cases": 0}
    with Catalogue(desk().home.catalogue) as catalogue:
        found = [row for row in catalogue.cohorts() if row.state in ("frozen", "registered")]
        return {"cohorts": len(found), "cases": catalogue.count_cases()}
