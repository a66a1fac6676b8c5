"""Sending what was released, so that each statement takes effect once whatever is interrupted.

An item is marked *sent* before its first byte goes. After a crash it is sent again, and the hub, which counts the first
answer, says ``task-done``: that is an acknowledgement like any other.
"""

from silo_node.hub import Hub
from silo_node.outbox.box import TASK_ANSWERS, Item, Outbox
from silo_node.wire.errors import HubUnavailable, MedSiloError
from silo_node.wire.studies import RoundReport
from silo_node.wire.tasks import Decline, ResultAnswer
from silo_node.wire.transfers import BlobPurpose

MASKED, SEALED = ".masked", ".sealed"
PURPOSES: dict[str, BlobPurpose] = {MASKED: "masked-update", SEALED: "sealed-model"}
"""What an attachment is by its ending; any other is an update."""

ANSWERED = frozenset({"task-done", "already-exists"})
LATER = frozenset({"lease-lost", "silo-not-active", "not-authenticated"})
"""Refusals that are not about the statement: it waits until the task is claimed again or the silo is back."""


def deliver(item: Item, hub: Hub, outbox: Outbox) -> Item:
    """Send one released item, its attachment first, and note the answer; a rejected one tells the hub its code.

    Raises :class:`HubUnavailable`, or one of :data:`LATER`, where it should be tried again; any other refusal is the
    hub's answer and is noted as such.
    """
    if item.state == "rejected":
        return _tell_rejection(item, hub, outbox)
    item = outbox.sending(item.item_id)
    try:
        answer = _send(item, hub)
    except HubUnavailable:
        raise
    except MedSiloError as error:
        if error.code in LATER:
            raise
        state = "accepted" if error.code in ANSWERED else "refused"
        answer = f'{{"state":"{state}","code":"{error.code}"}}'
    if item.attachment is not None:
        item.attachment.unlink(missing_ok=True)
    return outbox.acknowledged(item.item_id, answer)


def outcome(item: Item) -> str | None:
    """Return what became of a task's answer: accepted, refused or late; None where there is no word yet."""
    if item.answer is None or item.kind not in TASK_ANSWERS:
        return None
    return ResultAnswer.model_validate_json(item.answer).state


def _send(item: Item, hub: Hub) -> str:
    if item.kind == "cohort-registration":
        return hub.register_cohort(item.envelope).model_dump_json()
    if item.kind == "association-decision":
        hub.decide(item.subject, item.envelope)
        return "{}"
    if item.attachment is not None:
        report = RoundReport.model_validate_json(item.envelope.payload_bytes())
        hub.upload(item.attachment, PURPOSES.get(item.attachment.suffix, "update"), expected=report.update)
    return hub.result(item.subject, item.envelope).model_dump_json()


def _tell_rejection(item: Item, hub: Hub, outbox: Outbox) -> Item:
    """Say the coded no. A rejected registration needs none: the hub never heard of it."""
    try:
        if item.kind in TASK_ANSWERS:
            hub.decline(item.subject, Decline(code=item.code or "policy-refuses-release"))
    except HubUnavailable:
        raise
    except MedSiloError as error:
        if error.code in LATER:
            raise
    return outbox.declined(item.item_id)
