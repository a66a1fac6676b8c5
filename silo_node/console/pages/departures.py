"""What left: every request body in the egress log, with its digest, and who released what."""

from datetime import datetime
from itertools import islice
from typing import Any

from flask import Blueprint, render_template, request

from silo_node.console.desk import desk
from silo_node.console.statements import KIND_NAMES
from silo_node.console.words import ITEM_STATES, departure, is_statement, moment
from silo_node.outbox.box import Outbox
from silo_node.outbox.egress_log import EgressLog, Entry
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("departures", __name__)
_A_PAGE = 50


@blueprint.get("/left")
def shown() -> str:
    """Show one page of the log, newest first, after its chain was verified."""
    everything = request.args.get("show") == "all"
    page = max(1, request.args.get("page", 1, type=int))
    chain = _chain()
    entries = _entries(everything) if chain["holds"] else []
    first = (page - 1) * _A_PAGE
    return render_template(
        "left.html",
        chain=chain,
        everything=everything,
        page=page,
        pages=max(1, -(-len(entries) // _A_PAGE)),
        lines=[_line(entry) for entry in islice(reversed(entries), first, first + _A_PAGE)],
        released=_released(),
    )


def _chain() -> dict[str, Any]:
    try:
        lines, end = EgressLog(desk().home.egress_log).verify()
    except MedSiloError as error:
        return {"holds": False, "lines": 0, "end": "", "problem": error}
    return {"holds": True, "lines": lines, "end": end, "problem": None}


def _entries(everything: bool) -> list[Entry]:
    entries = EgressLog(desk().home.egress_log).entries()
    return [entry for entry in entries if everything or is_statement(entry.departure.kind)]


def _line(entry: Entry) -> dict[str, Any]:
    left = entry.departure
    return {
        "number": entry.number,
        "at": datetime.fromisoformat(left.time),
        "what": departure(left.kind),
        "subject": left.subject,
        "size": left.size,
        "digest": left.digest,
        "path": left.path,
    }


def _released() -> list[dict[str, Any]]:
    """Return the statements that were let go, newest first, with who let them go."""
    if not desk().home.journal.exists():
        return []
    with desk().journal() as journal:
        items = [item for item in Outbox(journal).items() if item.state in ("released", "sent", "acknowledged")]
    return [
        {
            "id": item.item_id,
            "kind": KIND_NAMES[item.kind],
            "by": item.released_by,
            "state": ITEM_STATES[item.state],
            "at": moment(item.changed),
        }
        for item in reversed(items[-_A_PAGE:])
    ]
