"""Registering a cohort: the signed statement goes through the outbox like everything else."""

import json

from pydantic import ValidationError

from silo_node.cohorts.registry import mark_registered
from silo_node.hub import Hub
from silo_node.identity import Identity
from silo_node.journal import Journal
from silo_node.outbox.box import REPLACEABLE, Item, Outbox
from silo_node.outbox.delivery import deliver
from silo_node.policy import decide_release, load_policy
from silo_node.state import Home
from silo_node.wire.cohorts import CohortRecord, CohortRegistration
from silo_node.wire.envelope import payload_type, seal
from silo_node.wire.errors import PROBLEMS, WireError


def register_cohort(
    home: Home, identity: Identity, hub: Hub, journal: Journal, registration: CohortRegistration
) -> tuple[Item, CohortRecord | None]:
    """Sign a registration and send it, or hold it where the policy wants a person's yes first.

    Returns the item in the outbox, and the hub's record once there is one. Asking again sends again, which is no second
    registration. Raises the hub's refusal, and :class:`HubUnavailable`; then the node sends it later.
    """
    outbox = Outbox(journal)
    item = outbox.add(
        "cohort-registration",
        registration.fingerprint,
        seal(registration, identity.key),
        decide_release(load_policy(home), "registrations"),
        replacing=REPLACEABLE | {"rejected", "declined", "acknowledged"},
    )
    if item.state not in ("released", "sent"):
        return item, None
    item = deliver(item, hub, outbox)
    record = note_registration(home, item)
    if record is None:
        raise WireError(refusal_code(item))
    return item, record


def note_registration(home: Home, item: Item) -> CohortRecord | None:
    """Write the hub's id of a registered cohort into the catalogue; None where the hub has refused it."""
    if item.envelope.payloadType != payload_type(CohortRegistration) or item.answer is None:
        return None
    try:
        record = CohortRecord.model_validate_json(item.answer)
    except ValidationError:
        return None
    mark_registered(home, record.fingerprint, record.cohort_id)
    return record


def refusal_code(item: Item) -> str:
    """Return the hub's code where it has refused an item."""
    code = json.loads(item.answer or "{}").get("code")
    return code if code in PROBLEMS else "malformed-message"
