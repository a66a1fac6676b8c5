"""What is asked of this site: each thing that waits to leave, in words and to the byte, and the two answers."""

from flask import Blueprint, redirect, render_template
from werkzeug.wrappers import Response as AnyResponse

from silo_node.agent.consents import outlook_of, request_of, request_of_study
from silo_node.agent.releases import deliver_unless_a_node_runs, reject
from silo_node.benchmarks import known_benchmark
from silo_node.console.desk import desk, signed_in
from silo_node.console.statements import KIND_NAMES, Background, Statement, pretty_payload, statement
from silo_node.console.words import ITEM_STATES, moment
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.outbox.words import bits, content, document
from silo_node.privacy.outlook import Outlook
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import HubUnavailable, MedSiloError
from silo_node.wire.studies import StudyConsentRequest

blueprint = Blueprint("approvals", __name__)
_DONE = 30


@blueprint.get("/approvals")
def listed() -> str:
    """List what waits, and what was decided lately."""
    with desk().journal() as journal:
        items = Outbox(journal).items()
        waiting = [_line(journal, item) for item in items if item.state == "held"]
    decided = [item for item in reversed(items) if item.state != "held"][:_DONE]
    return render_template(
        "approvals.html", waiting=waiting, decided=decided, kinds=KIND_NAMES, states=ITEM_STATES, moment=moment
    )


@blueprint.get("/approvals/<item_id>")
def shown(item_id: str) -> str:
    """Show one thing whole."""
    with desk().journal() as journal:
        item = Outbox(journal).item(item_id)
        told = tell(journal, item)
    payload = item.envelope.payload_bytes()
    return render_template(
        "approval.html",
        item=item,
        told=told,
        state=ITEM_STATES[item.state],
        since=moment(item.changed),
        content=document(item),
        payload=pretty_payload(item),
        payload_bytes=len(payload),
        payload_digest=digest_bytes(payload),
    )


@blueprint.post("/approvals/<item_id>/release")
def release(item_id: str) -> AnyResponse:
    """Let it go, in the name of whoever is signed in."""
    with desk().journal() as journal:
        item = Outbox(journal).release(item_id, signed_in().person)
    if item.state == "held":
        signed_in().notice = "Noted. A second person must release it, too, before it leaves."
        return redirect(f"/approvals/{item_id}", 303)
    signed_in().notice = f"Released by {signed_in().person}. {deliver_now_or_later()}"
    return redirect(f"/approvals/{item_id}", 303)


@blueprint.post("/approvals/<item_id>/reject")
def keep(item_id: str) -> AnyResponse:
    """Keep it here for good."""
    with desk().journal() as journal:
        reject(journal, desk().identity, item_id, signed_in().person)
    signed_in().notice = f"It stays here, by {signed_in().person}. {deliver_now_or_later()}"
    return redirect(f"/approvals/{item_id}", 303)


def tell(journal: Journal, item: Item) -> Statement:
    """Return an item in words, with what the node knows beside it."""
    there = item.attachment is not None and item.attachment.exists()
    update_bytes = item.attachment.stat().st_size if item.attachment is not None and there else None
    request = _request(journal, item)
    return statement(
        item, Background(_definition(item), request, update_bytes, bits(item), _outlook(journal, item, request))
    )


def _outlook(journal: Journal, item: Item, request: StudyConsentRequest | None) -> Outlook | None:
    """Return what a study that waits for a yes would cost the patients' privacy."""
    if item.kind != "association-decision" or item.state != "held" or request is None:
        return None
    return outlook_of(desk().home, journal, request)


def _request(journal: Journal, item: Item) -> StudyConsentRequest | None:
    """Return what the study asked, for the answer to it and for its rounds."""
    if item.kind == "association-decision":
        return request_of(journal, item.subject)
    return request_of_study(journal, content(item)["study_id"]) if item.kind == "round-report" else None


def _line(journal: Journal, item: Item) -> dict[str, object]:
    told = tell(journal, item)
    return {
        "id": item.item_id,
        "title": told.title,
        "kind": told.kind,
        "lead": told.lead,
        "since": moment(item.changed),
    }


def _definition(item: Item) -> BenchmarkDefinition | None:
    named = content(item).get("benchmark")
    if named is None:
        return None
    try:
        return known_benchmark(desk().home, BenchmarkReference.model_validate(named))
    except MedSiloError:
        return None


def deliver_now_or_later() -> str:
    """Send at once where no node runs. That the hub is away is no reason to show an error: it goes later."""
    try:
        deliver_unless_a_node_runs(desk().home, desk().config, desk().identity())
    except HubUnavailable:
        return "The hub cannot be reached now; the node sends the answer later."
    except MedSiloError as error:
        return f"It was not sent yet: {error.title}."
    return ""
