"""The studies that asked this site, what it answered, and what it did in them."""

from typing import Any

from flask import Blueprint, redirect, render_template
from werkzeug.wrappers import Response as AnyResponse

from silo_node.agent.consents import KIND, end_consent, may_end
from silo_node.agent.tasks import TaskBook
from silo_node.console.desk import desk, signed_in
from silo_node.console.pages.approvals import deliver_now_or_later
from silo_node.console.statements import Background, statement
from silo_node.console.words import ITEM_STATES, moment
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.outbox.words import content
from silo_node.wire.studies import RoundTask, StudyConsentRequest
from silo_node.wire.tasks import Task

blueprint = Blueprint("studies", __name__)
_LOOKED_AT = 5_000


@blueprint.get("/studies")
def listed() -> str:
    """List the studies."""
    with desk().journal() as journal:
        asked = journal.rows("SELECT study_id, association_id, request, created FROM consent ORDER BY created DESC")
        rounds = _rounds(journal)
        views = [_view(journal, dict(row), rounds) for row in asked]
    return render_template("studies.html", studies=views)


@blueprint.post("/studies/<study_id>/end")
def end(study_id: str) -> AnyResponse:
    """End a consent: from now on no round of the study runs here, and the hub is told the signed no."""
    with desk().journal() as journal:
        end_consent(journal, desk().identity(), study_id, signed_in().person)
    later = deliver_now_or_later()
    signed_in().notice = f"The consent is ended; no round of this study runs here any more. {later}".strip()
    return redirect("/studies", 303)


def _view(journal: Journal, row: dict[str, str], rounds: dict[str, int]) -> dict[str, Any]:
    request = StudyConsentRequest.model_validate_json(row["request"])
    item = Outbox(journal).about(KIND, row["association_id"])
    told = statement(item, Background(request=request)) if item else None
    return {
        "id": row["study_id"],
        "title": request.plan.title,
        "asked_by": f"{request.requested_by}, {request.organisation}",
        "asked": moment(row["created"]),
        "answer": _answer(item.state, content(item)["approve"]) if item else "no answer",
        "item": item.item_id if item else None,
        "held": item is not None and item.state == "held",
        "may_end": item is not None and may_end(item),
        "by": item.released_by if item else None,
        "rounds": rounds.get(row["study_id"], 0),
        "of_rounds": request.plan.rounds,
        "facts": told.about if told else (),
    }


def _answer(state: str, approve: bool) -> str:
    if state == "held":
        return "waits for your yes or no"
    return f"{'yes' if approve else 'no'}; {ITEM_STATES.get(state, state)}"


def _rounds(journal: Journal) -> dict[str, int]:
    """Count the rounds this site has answered, by study."""
    counts: dict[str, int] = {}
    for record in TaskBook(journal).recent(_LOOKED_AT):
        if record.kind == "round" and record.state in ("answered", "closed") and record.code is None:
            body = Task.model_validate_json(record.envelope.payload_bytes()).body
            if isinstance(body, RoundTask):
                counts[body.study_id] = counts.get(body.study_id, 0) + 1
    return counts
