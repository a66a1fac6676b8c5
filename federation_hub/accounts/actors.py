"""Who is acting, as rules and the audit trail see it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Role = Literal["reader", "researcher", "benchmark-owner", "data-steward", "hub-admin"]
ROLES: tuple[Role, ...] = ("reader", "researcher", "benchmark-owner", "data-steward", "hub-admin")
ActorKind = Literal["silo", "person", "system", "anonymous"]


@dataclass(frozen=True, slots=True)
class Actor:
    """One acting party. ``roles`` holds a person's roles, or ``{"silo"}`` for an active silo."""

    kind: ActorKind
    id: str
    roles: frozenset[str] = frozenset()
    organisation_id: str | None = None
    token_expires: datetime | None = None

    def may(self, roles: frozenset[str]) -> bool:
        """Tell whether any of these roles is the actor's."""
        return bool(self.roles & roles)


SYSTEM = Actor("system", "hub")
"""The hub itself: expiry sweeps, a study's own steps, automatic approvals a benchmark asked for."""

ANONYMOUS = Actor("anonymous", "anonymous")
