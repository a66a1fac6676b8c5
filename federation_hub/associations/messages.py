"""What people send and see about associations."""

from datetime import datetime

from silo_node.wire.base import Code, Identifier, Message, Name
from silo_node.wire.cohorts import AssociationState


class Decision(Message):
    """A person's yes or no; the reason is a code."""

    approve: bool
    reason: Code | None = None


class AssociationRecord(Message):
    """An association as a person sees it. ``subject`` is a cohort id, a model digest or a study id."""

    association_id: Identifier
    kind: str
    state: AssociationState
    benchmark: Name
    benchmark_version: int
    subject: str
    silo_id: str | None
    requested_side: str
    may_approve: bool
    """Whether the one who asks could say yes to it now."""

    reason: Code | None
    created: datetime
    decided: datetime | None


class AssociationList(Message):
    """The associations a person is a side of; all of them for the hub's admin."""

    associations: tuple[AssociationRecord, ...]
    next: str | None = None
