"""Opening what a silo signed with a key that counts now."""

from contextlib import suppress
from typing import TypeVar

from sqlalchemy.orm import Session

from federation_hub.silos.keys import keys_now
from silo_node.wire.base import Message
from silo_node.wire.envelope import BadEnvelope, Envelope, open_envelope
from silo_node.wire.errors import WireError

M = TypeVar("M", bound=Message)


def open_signed(session: Session, silo_id: str, envelope: Envelope, kind: type[M]) -> M:
    """Return the message a silo signed; raises ``bad-envelope``, also where it names another silo as its author."""
    for key in keys_now(session, silo_id):
        with suppress(BadEnvelope):
            message = open_envelope(envelope, kind, key)
            if getattr(message, "silo_id", silo_id) == silo_id:
                return message
    raise WireError("bad-envelope")
