"""Opening what a silo signed with the key it enrolled."""

from typing import TypeVar

from sqlalchemy.orm import Session

from federation_hub.silos.tables import Silo
from silo_node.wire.base import Message
from silo_node.wire.envelope import BadEnvelope, Envelope, open_envelope
from silo_node.wire.errors import WireError

M = TypeVar("M", bound=Message)


def open_signed(session: Session, silo_id: str, envelope: Envelope, kind: type[M]) -> M:
    """Return the message a silo signed; raises ``bad-envelope``, also where it names another silo as its author."""
    silo = session.get_one(Silo, silo_id)
    try:
        message = open_envelope(envelope, kind, silo.public_key or "")
    except BadEnvelope as error:
        raise WireError("bad-envelope") from error
    if getattr(message, "silo_id", silo_id) != silo_id:
        raise WireError("bad-envelope")
    return message
