"""What the hub tells people about themselves."""

from silo_node.wire.base import Message


class Me(Message):
    """Who a token belongs to, and what it may do."""

    person_id: str
    name: str
    organisation_id: str
    organisation: str
    roles: tuple[str, ...]
