"""What people send and see about silos."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from silo_node.wire.base import Identifier, Message, Name, Title
from silo_node.wire.cohorts import AssociationState, CohortCard
from silo_node.wire.enrolment import SiloState


class SiloInvitation(Message):
    """The wish to let a hospital's node join."""

    name: Title
    organisation: Title


class InvitationAnswer(Message):
    """The one-time code for the hospital, shown this once."""

    silo_id: Identifier
    code: str
    expires: datetime


class FingerprintApproval(Message):
    """The fingerprint the hospital read out, typed by the hub's admin."""

    fingerprint: Annotated[str, Field(min_length=32, max_length=64)]


class CohortView(Message):
    """A registered cohort, in bands."""

    cohort_id: Identifier
    benchmark: Name
    benchmark_version: int
    state: str
    association: AssociationState | None
    card: CohortCard


class SiloView(Message):
    """A silo as people see it; ``fingerprint``, ``software_version`` and ``last_seen`` only its admin and steward."""

    silo_id: Identifier
    name: str
    organisation: str
    state: SiloState
    fingerprint: str | None
    software_version: str | None
    last_seen: datetime | None
    created: datetime
    cohorts: tuple[CohortView, ...]


class SiloList(Message):
    """Silos of the federation, by name."""

    silos: tuple[SiloView, ...]
    next: str | None = None
    """The cursor of the next page, where there is one."""
